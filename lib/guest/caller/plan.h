/*
 * Owns what a call is to become: its arguments in a form that cannot be mistaken, the files that go along, and what is opened here.
 * Must never run anything.
 */
#ifndef VMRM_CALLER_PLAN_H
#define VMRM_CALLER_PLAN_H

#include "grammar.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PLAN_FILES_MAX 4

struct plan_file {
	uint32_t argument; /* which argument names it */
	uint32_t offset;   /* bytes of that argument in front of the name */
	int fd;
};

struct plan {
	const char *command;
	char **argv; /* ends with NULL */
	int argc;
	struct plan_file files[PLAN_FILES_MAX];
	size_t file_count;
	bool takes_stdin, takes_terminal;
	int in_fd, out_fd, err_fd; /* opened here instead of 0, 1 and 2; -1: not */
	/* salloc: what runs here once the allocation is there; hold_argv NULL: the user's shell */
	bool holds;
	char **hold_argv;
	const char *hold_folder; /* --chdir; NULL: where we are */
	/* srun --bcast: the program is copied first */
	const char *bcast_source, *bcast_target;
};

/* The building blocks, for the commands that need more than their words (plan_*.c). */
bool plan_add(struct plan *plan, char *text);
/* The option with its value attached, so that no word is left that could be taken for something else. */
bool plan_add_option(struct plan *plan, const struct option *option);
/* The file is named by the argument that is added next, behind `offset` bytes of it. */
void plan_add_file(struct plan *plan, uint32_t offset, int fd);
/* Whether srun means a plain file by this name, and not all, none, a task or a pattern. */
bool plan_is_file(const char *name);
/* Where PATH has this command; the name itself if it holds a slash. NULL: nowhere. To be freed never. */
const char *plan_find(const char *name, int mode, bool looks_here_first);
/* The line that the command itself would have on stderr. Returns 1. */
__attribute__((format(printf, 2, 3))) int plan_error(const struct plan *plan, const char *format, ...);

int plan_srun(struct plan *plan, int argc, char **argv);
int plan_sbatch(struct plan *plan, int argc, char **argv);
int plan_salloc(struct plan *plan, int argc, char **argv);
int plan_sbcast(struct plan *plan, int argc, char **argv);

/* Returns 0, or the exit code after it said what is wrong. */
int plan_make(struct plan *plan, const char *command, int argc, char **argv);

#endif
