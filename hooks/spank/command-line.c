// What stands on the command line of sbatch, salloc or srun: Slurm (22.05) tells a plug-in nothing of Slurm's own options.
// It reads up to where getopt stopped, and must never look at the command's arguments.
#define _GNU_SOURCE
#include "command-line.h"

#include <fcntl.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { COMMAND_LINE_MAX_BYTES = 1 << 20 };

static bool is_option(const char *argument, const char *name, unsigned shortest) {
  size_t length = strcspn(argument, "=");
  return length >= shortest && length <= strlen(name) && strncmp(argument, name, length) == 0;
}

static ssize_t read_command_line(char *text, size_t size) {
  size_t used = 0;
  int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  while (used < size - 1) {
    ssize_t got = read(fd, text + used, size - 1 - used);
    if (got <= 0) break;
    used += (size_t)got;
  }
  close(fd);
  text[used] = '\0';
  return (ssize_t)used;
}

bool command_line_has(const char *name, unsigned shortest) {
  char *text = malloc(COMMAND_LINE_MAX_BYTES);
  if (text == NULL) return false;
  ssize_t length = read_command_line(text, COMMAND_LINE_MAX_BYTES);
  bool is_there = false;
  int index = 0;
  for (char *argument = text; argument < text + length && index < optind; argument += strlen(argument) + 1, index++)
    if (index > 0 && is_option(argument, name, shortest)) is_there = true;
  free(text);
  return is_there;
}
