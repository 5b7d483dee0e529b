/*
 * Owns a block of lines between two marks in a configuration file of the guest.
 * Must never touch a line outside its marks.
 */
#include "marked_block.h"

#include <stdio.h>
#include <string.h>

struct marks {
	char begin[64], end[64];
};

/* Adds the file's text without an earlier block. */
static void add_without_block(struct text *new, const struct text *old, const struct marks *marks)
{
	const char *begin = strstr(old->bytes, marks->begin);
	const char *end = begin != NULL ? strstr(begin, marks->end) : NULL;
	size_t before = end != NULL ? (size_t)(begin - old->bytes) : old->length;
	text_add(new, old->bytes, before);
	if (end != NULL)
		text_add(new, end + strlen(marks->end), old->length - (size_t)(end + strlen(marks->end) - old->bytes));
	if (new->length > 0 && new->bytes[new->length - 1] != '\n')
		text_add(new, "\n", 1);
}

bool marked_block_put(const char *path, const char *title, const struct text *lines, enum block_place place)
{
	struct text old = {0}, rest = {0}, new = {0};
	struct marks marks;
	snprintf(marks.begin, sizeof marks.begin, "# vmrm: begin of %s\n", title);
	snprintf(marks.end, sizeof marks.end, "# vmrm: end of %s\n", title);
	bool done = text_read(&old, path);
	if (done) {
		text_add(&rest, "", 0);
		add_without_block(&rest, &old, &marks);
		if (place == BLOCK_LAST)
			text_add(&new, rest.bytes, rest.length);
		text_addf(&new, "%s", marks.begin);
		text_add(&new, lines->bytes, lines->length);
		text_addf(&new, "%s", marks.end);
		if (place == BLOCK_FIRST)
			text_add(&new, rest.bytes, rest.length);
		new.failed = new.failed || rest.failed || lines->failed;
		done = text_replace(path, &new, 0644);
	}
	text_free(&old);
	text_free(&rest);
	text_free(&new);
	return done;
}
