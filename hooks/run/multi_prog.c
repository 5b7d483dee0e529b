/* Owns `srun --multi-prog`: which program a rank runs. The grammar was found by trying Slurm 22.05. Must never guess whether it is one: srun's plug-in says. */
#include "multi_prog.h"

#include "../spank/step-options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static const char *skip_blanks(const char *at)
{
	while (is_blank(*at))
		at++;
	return at;
}

static const char *next_line(const char *at)
{
	for (; *at != '\0' && *at != '\n'; at++)
		if (at[0] == '\\' && at[1] != '\0')
			at++;
	return *at == '\n' ? at + 1 : at;
}

/* Reads a rank list such as 0,2-4 or *. Returns what follows it, NULL if it is none; `offset` is rank's place in it, or -1. */
static const char *read_ranks(const char *at, uint32_t rank, long *offset)
{
	unsigned long before = 0;
	*offset = -1;
	if (*at == '*') {
		*offset = (long)rank;
		return is_blank(at[1]) ? at + 1 : NULL;
	}
	for (;;) {
		char *end = NULL;
		if (*at < '0' || *at > '9')
			return NULL;
		unsigned long first = strtoul(at, &end, 10);
		unsigned long last = first;
		if (*end == '-') {
			if (end[1] < '0' || end[1] > '9')
				return NULL;
			last = strtoul(end + 1, &end, 10);
		}
		if (last < first)
			return NULL;
		if (*offset < 0 && rank >= first && rank <= last)
			*offset = (long)(before + rank - first);
		before += last - first + 1;
		if (*end != ',')
			return is_blank(*end) ? end : NULL;
		at = end + 1;
	}
}

bool multi_prog_is(int argc)
{
	const char *announced = getenv(MULTI_PROG_VARIABLE);
	return argc == 2 && announced != NULL && strcmp(announced, "1") == 0;
}

/* One argument from `*at` on into `*out`; both move on. */
static void read_argument(const char **at, char **out, uint32_t rank, long offset)
{
	bool quoted = false;
	const char *c = *at;
	for (; *c != '\0' && (quoted || (*c != '\n' && !is_blank(*c))); c++) {
		if (*c == '\'') {
			quoted = !quoted;
		} else if (*c == '\\' && !quoted && c[1] != '\0') {
			c++;
			if (*c != '\n')
				*(*out)++ = *c;
		} else if (*c == '%' && !quoted && (c[1] == 't' || c[1] == 'o')) {
			*out += sprintf(*out, "%ld", c[1] == 't' ? (long)rank : offset);
			c++;
		} else {
			*(*out)++ = *c;
		}
	}
	*(*out)++ = '\0';
	*at = c;
}

static char **split(const char *line, uint32_t rank, long offset, int *argc)
{
	size_t length = (size_t)(next_line(line) - line);
	/* %t grows from two characters to at most twenty; a line has at most one argument for every two characters. */
	char *out = malloc(length * 10 + 2);
	char **argv = calloc(length / 2 + 2, sizeof *argv);
	if (out == NULL || argv == NULL)
		goto done;
	for (line = skip_blanks(line); *line != '\0' && *line != '\n'; line = skip_blanks(line)) {
		if (line[0] == '\\' && line[1] == '\n') {
			line += 2;
			continue;
		}
		argv[(*argc)++] = out;
		read_argument(&line, &out, rank, offset);
	}
done:
	return *argc > 0 ? argv : NULL;
}

char **multi_prog_arguments(const char *text, uint32_t rank, int *argc)
{
	*argc = 0;
	for (const char *at = text; *at != '\0'; at = next_line(at)) {
		long offset = -1;
		at = skip_blanks(at);
		if (*at == '#' || *at == '\n' || *at == '\0')
			continue;
		const char *command = read_ranks(at, rank, &offset);
		if (command == NULL)
			return NULL;
		if (offset >= 0)
			return split(command, rank, offset, argc);
	}
	return NULL;
}
