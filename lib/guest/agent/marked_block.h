/*
 * Owns a block of lines between two marks in a configuration file of the guest.
 * Must never touch a line outside its marks.
 */
#ifndef VMRM_AGENT_MARKED_BLOCK_H
#define VMRM_AGENT_MARKED_BLOCK_H

#include "text_file.h"

/* Where the block goes: sshd and ssh take the first value they find, /etc/hosts is read from the top too but for people's eyes. */
enum block_place { BLOCK_FIRST, BLOCK_LAST };

/* Puts the block (its title tells it from others) in the place of an earlier one. A new file gets 0644. False: errno. */
bool marked_block_put(const char *path, const char *title, const struct text *lines, enum block_place place);

#endif
