/* Owns the words vmrm-run itself says on stderr. Must never fail: what cannot be written is left out. */
#include "say.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

static void put(const char *text, size_t length)
{
	while (length > 0) {
		ssize_t n = write(STDERR_FILENO, text, length);
		if (n <= 0)
			break;
		text += n;
		length -= (size_t)n;
	}
}

void say(const char *format, ...)
{
	char line[1024];
	va_list arguments;
	int head = snprintf(line, sizeof line, "vmrm: ");
	va_start(arguments, format);
	int n = vsnprintf(line + head, sizeof line - (size_t)head - 1, format, arguments);
	va_end(arguments);
	size_t length = (size_t)head + (n < 0 ? 0 : (size_t)n);
	if (length > sizeof line - 2)
		length = sizeof line - 2;
	line[length++] = '\n';
	put(line, length);
}

void say_text(const uint8_t *text, size_t length)
{
	put((const char *)text, length);
	if (length > 0 && text[length - 1] != '\n')
		put("\n", 1);
}
