/* Owns `srun --multi-prog`: which program a rank runs. Must never read a file: srun has sent the text as an argument. */
#ifndef RUN_MULTI_PROG_H
#define RUN_MULTI_PROG_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Whether these arguments are what srun 22.05 sends for --multi-prog: the configuration's name and its text, nothing else marks it.
 * True only if the text has a newline, every line of it starts with a rank list, and the name is not an executable file.
 */
bool multi_prog_is(int argc, char **argv);

/*
 * The arguments of `rank`, ended by NULL, in memory that is never freed; NULL if the text has no line for it or no memory is left.
 * As slurmstepd does: single quotes group, a backslash takes the next character as it is, %t is the rank, %o its place in the line's
 * list; double quotes are ordinary characters.
 */
char **multi_prog_arguments(const char *text, uint32_t rank, int *argc);

#endif
