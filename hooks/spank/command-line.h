// The command line of the sbatch, salloc or srun that loaded the plug-in.
#ifndef VMRM_COMMAND_LINE_H
#define VMRM_COMMAND_LINE_H

#include <stdbool.h>

// True if the options read so far include the long option NAME (`--multi-prog`), or a beginning of it of at least SHORTEST
// characters, which is where getopt can tell it from all others; with a value behind `=` too.
bool command_line_has(const char *name, unsigned shortest);

#endif
