// The syntax of the values a user may give. It judges text only and never touches the environment.
#include "syntax.h"

#include <string.h>

#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

enum { NAME_MAX_BYTES = 63, PER_NODE_MAX = 256 };

bool is_opt_out(const char *image) { return strcmp(image, "none") == 0; }

bool is_image(const char *text) {
  size_t name = strspn(text, LOWER DIGITS "._-");
  if (name == 0 || name > NAME_MAX_BYTES || strchr(LOWER DIGITS, text[0]) == NULL) return false;
  if (text[name] == '\0') return true;
  if (text[name] != '@') return false;
  // `none@1` looks like an opt-out and would be none.
  if (name == 4 && strncmp(text, "none", 4) == 0) return false;
  const char *revision = text + name + 1;
  size_t length = strspn(revision, UPPER LOWER DIGITS "._-");
  return length >= 1 && length <= NAME_MAX_BYTES && revision[length] == '\0';
}

bool is_per_node(const char *text) {
  int number = 0;
  size_t length = strspn(text, DIGITS);
  if (length == 0 || length > 4 || text[length] != '\0' || text[0] == '0') return false;
  for (const char *digit = text; *digit != '\0'; digit++) number = number * 10 + (*digit - '0');
  return number <= PER_NODE_MAX;
}

bool is_script_place(const char *text) { return strcmp(text, "guest") == 0 || strcmp(text, "host") == 0; }

bool is_strategy(const char *text) { return strcmp(text, "all-or-nothing") == 0 || strcmp(text, "best-effort") == 0; }

const char *printable(const char *text, char *buffer, size_t size) {
  size_t used = 0;
  while (text[used] != '\0' && used + 1 < size) {
    buffer[used] = text[used] >= ' ' && text[used] <= '~' ? text[used] : '?';
    used++;
  }
  buffer[used] = '\0';
  if (text[used] != '\0' && size > 4) memcpy(buffer + size - 4, "...", 4);
  return buffer;
}
