// The command line of the program that loaded the plug-in.
#ifndef VMRM_COMMAND_LINE_H
#define VMRM_COMMAND_LINE_H

#include <stdbool.h>

struct command_line {
  int count;
  char **words;
  char *text;  // the words lie here
};

// The words up to the first that getopt took for no option; none where it cannot be known.
void command_line_read(struct command_line *line);
void command_line_free(struct command_line *line);
// Whether the options include this long one, as srun, sbatch and salloc spell theirs.
bool command_line_has(const char *name);

#endif
