// The command line of srun or sbatch, which Slurm (22.05) shows no plug-in. It must never look at the arguments of the user's program.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../lib/guest/call/grammar.h"
#include "command-line.h"

enum { COMMAND_LINE_MAX_BYTES = 1 << 20 };

static ssize_t read_all(char *text, size_t size) {
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

void command_line_read(struct command_line *line) {
  *line = (struct command_line){0, calloc((size_t)optind + 1, sizeof(char *)), malloc(COMMAND_LINE_MAX_BYTES)};
  if (line->words == NULL || line->text == NULL) return;
  ssize_t length = read_all(line->text, COMMAND_LINE_MAX_BYTES);
  for (char *word = line->text; word < line->text + length && line->count < optind; word += strlen(word) + 1)
    line->words[line->count++] = word;
}

void command_line_free(struct command_line *line) {
  free(line->words);
  free(line->text);
}

bool command_line_has(const char *name) {
  struct command_line line;
  struct option_walk walk;
  struct option option;
  bool is_there = false;
  command_line_read(&line);
  option_walk_start(&walk, grammar_of("srun"), line.count, line.words);
  while (option_walk_next(&walk, &option)) is_there = is_there || strcmp(option.name, name) == 0;
  command_line_free(&line);
  return is_there;
}
