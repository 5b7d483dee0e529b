// The environment a hook gets: Slurm's own variables and vmrm's, each once, and nothing that could change how a program starts.
// Values are passed on as they are: they stay hostile, and the hook checks them.
#include "environment.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static bool is_entry_of(const char *entry, const char *name, size_t length) {
  return strncmp(entry, name, length) == 0 && entry[length] == '=';
}

const char *environment_find(char *const environment[], const char *name) {
  size_t length = strlen(name);
  for (; *environment != NULL; environment++)
    if (is_entry_of(*environment, name, length)) return *environment + length + 1;
  return NULL;
}

static bool is_wanted(const char *entry) {
  size_t name = strspn(entry, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
  if (entry[name] != '=') return false;
  return strncmp(entry, "SLURM_", 6) == 0 || strncmp(entry, "SPANK_VMRM_", 11) == 0;
}

// What a gate decides on must be what the hook sees, so the first occurrence counts for both.
static bool is_repeated(char *const *list, size_t count, const char *entry) {
  size_t length = strcspn(entry, "=");
  for (size_t i = 0; i < count; i++)
    if (is_entry_of(list[i], entry, length)) return true;
  return false;
}

char **environment_clean(char *const environment[]) {
  size_t count = 0, kept = 0;
  while (environment[count] != NULL) count++;
  char **clean = calloc(count + 3, sizeof *clean);
  if (clean == NULL) return NULL;
  for (size_t i = 0; i < count; i++)
    if (is_wanted(environment[i]) && !is_repeated(clean, kept, environment[i])) clean[kept++] = environment[i];
  clean[kept++] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
  clean[kept++] = "LC_ALL=C.UTF-8";
  return clean;
}
