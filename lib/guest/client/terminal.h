/* Owns the terminal a session is used from: raw while it runs. Must never leave it raw. */
#ifndef VMRM_CLIENT_TERMINAL_H
#define VMRM_CLIENT_TERMINAL_H

#include <stdbool.h>
#include <stdint.h>

struct terminal_size {
	uint32_t rows;
	uint32_t columns;
};

/* Whether stdin and stdout are a terminal; then it is made raw and its size is given. */
bool terminal_take(struct terminal_size *size);
bool terminal_size(struct terminal_size *size);
void terminal_restore(void);

#endif
