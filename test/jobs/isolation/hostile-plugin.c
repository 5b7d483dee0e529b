// A user's own SPANK plug-in: it puts what HOSTILE_NAME says into the job's SPANK environment as NAME, past every check
// of vmrm.so. A value `@N` stands for N bytes, since the shell's environment has less room than Slurm's.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include <slurm/spank.h>

SPANK_PLUGIN(hostile, 1)

extern char **environ;
static const char prefix[] = "HOSTILE_";

static char *value_of(const char *text) {
  if (text[0] != '@') return strdup(text);
  size_t length = strtoul(text + 1, NULL, 10);
  char *value = calloc(1, length + 1);
  if (value != NULL) memset(value, 'x', length);
  return value;
}

int slurm_spank_init_post_opt(spank_t spank, int count, char **arguments) {
  (void)count;
  (void)arguments;
  for (char **each = environ; *each != NULL; each++) {
    if (strncmp(*each, prefix, sizeof prefix - 1) != 0) continue;
    char *name = strdup(*each + sizeof prefix - 1);
    char *equals = strchr(name, '=');
    char *value = value_of(equals + 1);
    *equals = '\0';
    spank_job_control_setenv(spank, name, value, 1);
    free(value);
    free(name);
  }
  return 0;
}
