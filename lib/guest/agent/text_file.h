/*
 * Owns reading and replacing small text files of the guest's /etc.
 * Must never leave a half-written file behind.
 */
#ifndef VMRM_AGENT_TEXT_FILE_H
#define VMRM_AGENT_TEXT_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* A growing text; `failed` once there was no memory. */
struct text {
	char *bytes;
	size_t length;
	bool failed;
};

void text_add(struct text *text, const char *bytes, size_t length);
void text_addf(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
void text_free(struct text *text);
/* Appends the file's bytes (none if there is no such file). */
bool text_read(struct text *text, const char *path);
bool write_all(int fd, const char *bytes, size_t length);
/* Replaces the file in one step where its folder allows that. A new file gets `mode`. False: errno. */
bool text_replace(const char *path, const struct text *text, mode_t mode);

#endif
