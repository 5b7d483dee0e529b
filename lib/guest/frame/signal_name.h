/*
 * Owns the names of signals as the protocol writes them (`TERM`, `USR1`, `RTMIN+3`).
 * Must never put numbers on the wire: they differ between architectures.
 */
#ifndef VMRM_SIGNAL_NAME_H
#define VMRM_SIGNAL_NAME_H

#include "tlv.h"

/* The number of the signal named by the field, or 0. */
int signal_number(const struct vmrm_tlv *name);
/* Writes the name of a signal to `out` (at least 16 bytes). */
void signal_name(int number, char *out, size_t room);

#endif
