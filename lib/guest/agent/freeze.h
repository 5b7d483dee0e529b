/*
 * Owns the stop of a template's other processes: none of them may draw a random number, or look at the clock, before a clone has its own.
 * Must never stop one for good, nor let one go on that somebody else has stopped.
 */
#ifndef VMRM_AGENT_FREEZE_H
#define VMRM_AGENT_FREEZE_H

#include "complaint.h"

#include <stdbool.h>

/*
 * Stops every process but init, kernel threads, this one, and those that are stopped already. What a process has drawn before stays
 * the same in all clones. False: one could not be stopped, a complaint says why, and all go on.
 */
bool freeze_others(struct complaint *complaint);
/* Lets those go on, here or in a child of the process that stopped them. */
void thaw_others(void);
/* They go on already: a child has let them. */
void forget_frozen(void);

#endif
