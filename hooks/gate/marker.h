// The marker of a job on this node, VMRM_RUN_DIR/jobs/JOBID: root's word to slurmstepd that the job's tasks belong into VMs.
#ifndef VMRM_MARKER_H
#define VMRM_MARKER_H

#include <stdbool.h>

// Writes the marker in one step, over an older one. `job` is the job's id as text. False: why not is on stderr.
bool marker_write(const char *job, const char *script);

// Whether the job has one, as the node's vmrmd writes it for a job that named no image itself.
bool marker_exists(const char *job);

// Removes the marker; one that is not there is fine. False: why not is on stderr.
bool marker_remove(const char *job);

#endif
