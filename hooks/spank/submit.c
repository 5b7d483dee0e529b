// The submitting side, in sbatch, salloc and srun: from a request to the job-control environment, or to a refusal.
// It never decides whether an image exists or is allowed: that is check.c's question to the controller.
#define _GNU_SOURCE
#include "submit.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "command-line.h"
#include "request.h"
#include "step-options.h"
#include "syntax.h"

bool is_step_in_allocation(void) { return spank_context() == S_CTX_LOCAL && getenv("SLURM_JOB_ID") != NULL; }

// Slurm (22.05) hands each plug-in option on to whatever the job submits, in two variables it reads back as if they were options.
static const char *const inherited_options[] = {
    "_SLURM_SPANK_OPTION_vmrm_vm_image",
    "_SLURM_SPANK_OPTION_vmrm_vm_per_node",
    "_SLURM_SPANK_OPTION_vmrm_vm_script",
    "_SLURM_SPANK_OPTION_vmrm_vm_strategy",
    "_SLURM_SPANK_OPTION_vmrm_vm_checkpoint",
    "SLURM_SPANK__SLURM_SPANK_OPTION_vmrm_vm_image",
    "SLURM_SPANK__SLURM_SPANK_OPTION_vmrm_vm_per_node",
    "SLURM_SPANK__SLURM_SPANK_OPTION_vmrm_vm_script",
    "SLURM_SPANK__SLURM_SPANK_OPTION_vmrm_vm_strategy",
    "SLURM_SPANK__SLURM_SPANK_OPTION_vmrm_vm_checkpoint",
};

void forget_outer_job(void) {
  for (size_t i = 0; i < sizeof inherited_options / sizeof inherited_options[0]; i++) unsetenv(inherited_options[i]);
  step_options_forget();
  unsetenv("VMRM_HOSTFILE");
  unsetenv("VMRM_MACHINEFILE");
  if (is_step_in_allocation()) return;
  for (int setting = 0; setting < SETTING_COUNT; setting++) unsetenv(setting_names[setting].task_variable);
}

static const char *or_default(const char *value, const char *otherwise) {
  return value != NULL && value[0] != '\0' ? value : otherwise;
}

// slurmstepd (22.05) runs it on the node, whatever a plug-in does.
static bool has_no_epilog(void) {
  const char *epilog = getenv(TASK_EPILOG_VARIABLE);
  char shown[160];
  if (epilog == NULL) return true;
  slurm_error("vmrm: --task-epilog=%s would run outside the job's VMs: leave it out, and let the step's own command do at its end "
              "what it is for", printable(epilog, shown, sizeof shown));
  return false;
}

// A step runs in its job's VMs: its options may repeat what the job has and nothing else.
static bool submit_step(void) {
  static const char *const defaults[SETTING_COUNT] = {"none", "1", "guest", "", ""};
  char job[80], step[160];
  for (int setting = 0; setting < SETTING_COUNT; setting++) {
    const char *asked = request_given(setting);
    const char *of_job = or_default(getenv(setting_names[setting].task_variable), defaults[setting]);
    if (asked == NULL || strcmp(asked, of_job) == 0) continue;
    slurm_error("vmrm: %s=%s: this job has %s=%s, and a step uses its job's VMs: leave the option out, or submit another job",
                setting_names[setting].option, printable(asked, step, sizeof step), setting_names[setting].option,
                printable(of_job, job, sizeof job));
    return false;
  }
  const char *image = or_default(getenv(setting_names[SETTING_IMAGE].task_variable), "none");
  return is_opt_out(image) || has_no_epilog();
}

static bool publish_value(spank_t spank, enum setting setting, const char *value) {
  const char *variable = setting_names[setting].variable;
  if (value == NULL) {
    spank_job_control_unsetenv(spank, variable);
    return true;
  }
  spank_err_t error = spank_job_control_setenv(spank, variable, value, 1);
  if (error != ESPANK_SUCCESS) {
    slurm_error("vmrm: cannot pass %s on to the job: %s", variable, spank_strerror(error));
    return false;
  }
  // sbatch and salloc show the job-control environment to tasks by themselves, srun (22.05) does not.
  if (spank_context() == S_CTX_LOCAL) setenv(setting_names[setting].task_variable, value, 1);
  return true;
}

// Whether a job that names no image gets one is decided by job_submit/lua, which Slurm (22.05) does not show --x11.
static bool publish_display(spank_t spank, const struct request *request) {
  if (request->image != NULL || !command_line_has("x11")) return true;
  spank_err_t error = spank_job_control_setenv(spank, "VMRM_X11", "1", 1);
  if (error != ESPANK_SUCCESS) slurm_error("vmrm: cannot pass VMRM_X11 on to the job: %s", spank_strerror(error));
  return error == ESPANK_SUCCESS;
}

static bool publish(spank_t spank, const struct request *request) {
  return publish_display(spank, request) && publish_value(spank, SETTING_IMAGE, request->image) &&
         publish_value(spank, SETTING_PER_NODE, request->per_node) &&
         publish_value(spank, SETTING_SCRIPT, request->script) &&
         publish_value(spank, SETTING_STRATEGY, request->strategy);
}

static bool same(const char *left, const char *right) {
  return left == right || (left != NULL && right != NULL && strcmp(left, right) == 0);
}

// Copies, since a value given for the next component frees the one before it.
static bool remember(struct request *kept, const struct request *request) {
  const char *values[] = {request->image, request->per_node, request->script, request->strategy};
  char *copies[4] = {NULL, NULL, NULL, NULL};
  for (int i = 0; i < 4; i++) {
    if (values[i] == NULL) continue;
    copies[i] = strdup(values[i]);
    if (copies[i] == NULL) goto failed;
  }
  *kept = (struct request){copies[0], copies[1], copies[2], copies[3]};
  return true;
failed:
  for (int i = 0; i < 4; i++) free(copies[i]);
  slurm_error("vmrm: out of memory");
  return false;
}

// The display that Slurm makes is a port of the node, which no VM reaches.
static bool wants_display(void) {
  if (!command_line_has("x11")) return false;
  slurm_error("vmrm: --x11 does not work in VMs: leave it out, or add --vm-image=none");
  return true;
}

bool submit(spank_t spank) {
  // Of a heterogeneous job this is called once a component; the plug-in's state lives on between the calls.
  static enum { FIRST_COMPONENT, LATER_COMPONENT } component = FIRST_COMPONENT;
  static struct request first;
  struct request request;
  step_options_announce(spank_context() == S_CTX_LOCAL);
  if (is_step_in_allocation()) return submit_step();
  if (!request_resolve(&request)) return false;
  if (request_wants_vm(&request) && !has_no_epilog()) return false;
  if (component == LATER_COMPONENT) {
    if (same(first.image, request.image) && same(first.per_node, request.per_node) &&
        same(first.script, request.script) && same(first.strategy, request.strategy))
      return publish(spank, &request);
    slurm_error("vmrm: all components of a heterogeneous job must have the same --vm options; "
                "give them in the first component only");
    return false;
  }
  if (request_wants_vm(&request) && wants_display()) return false;
  if (request_wants_vm(&request) && check_request(&request) == CHECK_REFUSED) return false;
  component = LATER_COMPONENT;
  return remember(&first, &request) && publish(spank, &request);
}
