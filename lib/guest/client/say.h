/* Owns the words vmrm-run itself says on stderr; each line starts with "vmrm: ". Must never write to stdout. */
#ifndef VMRM_CLIENT_SAY_H
#define VMRM_CLIENT_SAY_H

#include <stddef.h>
#include <stdint.h>

/* Exit codes of vmrm-run's own failures, after sysexits.h as everywhere in vmrm. */
enum { EXIT_USAGE = 64, EXIT_REQUEST = 65, EXIT_UNAVAILABLE = 69, EXIT_BUG = 70 };

__attribute__((format(printf, 1, 2))) void say(const char *format, ...);
/* A text from vmrmd as it is, with a newline at its end. */
void say_text(const uint8_t *text, size_t length);

#endif
