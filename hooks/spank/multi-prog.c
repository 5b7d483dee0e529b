// srun --multi-prog: told from srun to vmrm-run, since slurmstepd (22.05) gives a plug-in no way to know.
#define _GNU_SOURCE
#include "multi-prog.h"

#include <stdlib.h>

#include "command-line.h"

void multi_prog_announce(void) {
  // No other option of srun starts with --mu.
  if (command_line_has("--multi-prog", sizeof "--mu" - 1)) setenv(MULTI_PROG_VARIABLE, "1", 1);
}
