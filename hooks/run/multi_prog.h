/* Owns `srun --multi-prog`: which program a rank runs. Must never read a file: srun has sent the text as an argument. */
#ifndef RUN_MULTI_PROG_H
#define RUN_MULTI_PROG_H

#include <stdbool.h>
#include <stdint.h>

/* Whether the arguments are the name and the text of a --multi-prog configuration: srun's plug-in announces it in the environment. */
bool multi_prog_is(int argc);

/*
 * The arguments of `rank`, ended by NULL, in memory that is never freed; NULL if the text has no line for it or no memory is left.
 * As slurmstepd does: single quotes group, a backslash takes the next character as it is, %t is the rank, %o its place in the line's
 * list; double quotes are ordinary characters.
 */
char **multi_prog_arguments(const char *text, uint32_t rank, int *argc);

#endif
