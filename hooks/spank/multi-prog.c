// srun --multi-prog: told from srun to vmrm-run, since slurmstepd (22.05) gives a plug-in no way to know.
// It reads srun's own command line up to where getopt stopped, and must never look at the command's arguments.
#define _GNU_SOURCE
#include "multi-prog.h"

#include <fcntl.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { COMMAND_LINE_MAX_BYTES = 1 << 20 };

// getopt accepts any unambiguous beginning; no other option of srun starts with --mu.
static int is_multi_prog_option(const char *argument) {
  size_t length = strlen(argument);
  return length >= 4 && strncmp(argument, "--multi-prog", length) == 0;
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

void multi_prog_announce(void) {
  char *text = malloc(COMMAND_LINE_MAX_BYTES);
  if (text == NULL) return;
  ssize_t length = read_command_line(text, COMMAND_LINE_MAX_BYTES);
  int index = 0;
  for (char *argument = text; argument < text + length && index < optind; argument += strlen(argument) + 1, index++)
    if (index > 0 && is_multi_prog_option(argument)) setenv(MULTI_PROG_VARIABLE, "1", 1);
  free(text);
}
