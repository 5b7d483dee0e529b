/*
 * Owns the sentence that says what failed in the guest, for whoever waits for the VM.
 * Must never be empty after a failure: an empty one means success on the wire.
 */
#ifndef VMRM_AGENT_COMPLAINT_H
#define VMRM_AGENT_COMPLAINT_H

#include <stdbool.h>

struct complaint {
	char text[512];
};

/* Fills the complaint (`what: errno text`) and returns false. */
bool complain(struct complaint *complaint, int error, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
