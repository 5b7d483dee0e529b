/*
 * Owns what is known of the options of Slurm's commands (22.05 to 25.x): which take a value, so that the first word that is none can be found.
 * Must never judge a value; a command that is not known has no options that matter.
 */
#ifndef VMRM_CALL_GRAMMAR_H
#define VMRM_CALL_GRAMMAR_H

#include <stdbool.h>

#define OPTION_NAME_BYTES 48

struct grammar {
	const char *command;
	const char *valued; /* names of long options that need a value, each between blanks */
	const char *others; /* all other long options */
	const char *letters; /* short options with a value: pairs of a letter and, up to a blank, the long name it stands for */
	const char *maybe_letters; /* short options that may have a value, attached */
	bool permutes; /* options may follow other words */
};

/* The grammar of a command; one without options where there is none. */
const struct grammar *grammar_of(const char *command);

struct option {
	char name[OPTION_NAME_BYTES]; /* the long name, or a single letter */
	const char *value; /* NULL: none */
	bool is_known;
};

struct option_walk {
	const struct grammar *grammar;
	char *const *argv;
	int argc;
	int at; /* the next argument to look at */
	const char *letters; /* the rest of a group such as -lN2 */
};

void option_walk_start(struct option_walk *walk, const struct grammar *grammar, int argc, char *const *argv);
/* The next option. False: argv[walk->at] is the first word that is none, or all were read; "--" was passed over. */
bool option_walk_next(struct option_walk *walk, struct option *option);

#endif
