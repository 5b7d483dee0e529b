// The SPANK plug-in vmrm.so: a dispatch from Slurm's callbacks to the submitting side and the node's side, nothing else.
// It must not define slurm_spank_job_prolog or _epilog: with either, slurmd (22.05) strips options from the hooks' environment.
#include <stdlib.h>

#include "request.h"
#include "slurm.h"
#include "submit.h"
#include "task.h"

#pragma GCC visibility push(default)
SPANK_PLUGIN(vmrm, 1)
#pragma GCC visibility pop

enum { REFUSED = -1, DONE = 0 };

static int on_option(int setting, const char *value, int is_remote) {
  if (!is_remote) return request_give((enum setting)setting, value) ? DONE : REFUSED;
  if (setting == SETTING_IMAGE) task_note_option(value);
  return DONE;
}

// Slurm breaks the lines of a usage text by itself.
static struct spank_option options[] = {
    {"vm-image", "NAME[@REV]", "run the job in VMs made from this image; none: outside VMs; default: $VMRM_IMAGE", 1,
     SETTING_IMAGE, on_option},
    {"vm-per-node", "K", "number of VMs on each node; default: $VMRM_PER_NODE, or 1", 1, SETTING_PER_NODE, on_option},
    {"vm-script", "guest|host",
     "where the batch script itself runs: in the first VM or on the first node; default: $VMRM_SCRIPT, or guest", 1,
     SETTING_SCRIPT, on_option},
    {"vm-strategy", "all-or-nothing|best-effort",
     "whether the job may begin with some of its VMs missing; default: $VMRM_STRATEGY, or the cluster's", 1, SETTING_STRATEGY,
     on_option},
    {"vm-checkpoint", "WHEN", "not available in this version of vmrm", 2, SETTING_CHECKPOINT, on_option},
};

static int is_submitting(void) { return spank_context() == S_CTX_LOCAL || spank_context() == S_CTX_ALLOCATOR; }

int slurm_spank_init(spank_t spank, int argc, char *argv[]) {
  (void)argc;
  (void)argv;
  if (!is_submitting() && spank_context() != S_CTX_REMOTE) return DONE;
  for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
    spank_err_t error = spank_option_register(spank, &options[i]);
    if (error == ESPANK_SUCCESS) continue;
    slurm_error("vmrm: cannot register --%s: %s", options[i].name, spank_strerror(error));
    return REFUSED;
  }
  if (is_submitting()) forget_outer_job();
  return DONE;
}

int slurm_spank_init_post_opt(spank_t spank, int argc, char *argv[]) {
  (void)argc;
  (void)argv;
  // With `optional` in plugstack.conf Slurm (22.05) ignores a failure here and submits the job, without its VMs.
  if (is_submitting() && !submit(spank)) exit(EXIT_FAILURE);
  return DONE;
}

int slurm_spank_task_init(spank_t spank, int argc, char *argv[]) {
  (void)argc;
  (void)argv;
  if (spank_remote(spank) == 1) task_enter_vm(spank);
  return DONE;
}
