/* Owns the terminal of `srun --pty`: raw while the task runs. Must never leave it raw. */
#ifndef RUN_TERMINAL_H
#define RUN_TERMINAL_H

#include "spec.h"

#include <stdbool.h>

/* Whether stdin and stdout are a terminal; then it is made raw and its size is given. */
bool terminal_take(struct terminal_size *size);
bool terminal_size(struct terminal_size *size);
void terminal_restore(void);

#endif
