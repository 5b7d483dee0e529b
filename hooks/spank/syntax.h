// The syntax of the values a user may give. It judges text only and never touches the environment.
#ifndef VMRM_SYNTAX_H
#define VMRM_SYNTAX_H

#include <stdbool.h>
#include <stddef.h>

// NAME or NAME@REV, at most 127 bytes. `none` opts out and has no revision.
bool is_image(const char *text);
// `none`: the job explicitly has no VM.
bool is_opt_out(const char *image);
// A decimal number from 1 to 256 without sign, blanks or leading zeros.
bool is_per_node(const char *text);
// `guest` or `host`.
bool is_script_place(const char *text);
// `all-or-nothing` or `best-effort`.
bool is_strategy(const char *text);

// The text as it may stand in a message: printable ASCII only, cut to what fits. Returns `buffer`.
const char *printable(const char *text, char *buffer, size_t size);

#endif
