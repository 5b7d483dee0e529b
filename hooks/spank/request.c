// What the user asks for: the options, their environment defaults, and the rules between them.
// It never talks to a daemon and never changes the environment.
#define _GNU_SOURCE
#include "request.h"

#include <stdlib.h>
#include <string.h>

#include "slurm.h"
#include "syntax.h"

const struct setting_names setting_names[SETTING_COUNT] = {
    [SETTING_IMAGE] = {"--vm-image", "VMRM_IMAGE", "SLURM_SPANK_VMRM_IMAGE"},
    [SETTING_PER_NODE] = {"--vm-per-node", "VMRM_PER_NODE", "SLURM_SPANK_VMRM_PER_NODE"},
    [SETTING_SCRIPT] = {"--vm-script", "VMRM_SCRIPT", "SLURM_SPANK_VMRM_SCRIPT"},
    [SETTING_STRATEGY] = {"--vm-strategy", "VMRM_STRATEGY", "SLURM_SPANK_VMRM_STRATEGY"},
    [SETTING_CHECKPOINT] = {"--vm-checkpoint", "VMRM_CHECKPOINT", "SLURM_SPANK_VMRM_CHECKPOINT"},
};

static char *given[SETTING_COUNT];

static const char no_checkpoint[] = "vmrm: %s: checkpoints are not available in this version of vmrm";

static bool is_valid(enum setting setting, const char *value) {
  switch (setting) {
    case SETTING_IMAGE: return is_image(value);
    case SETTING_PER_NODE: return is_per_node(value);
    case SETTING_SCRIPT: return is_script_place(value);
    case SETTING_STRATEGY: return is_strategy(value);
    default: return false;
  }
}

static void refuse(enum setting setting, const char *source, const char *value) {
  char shown[80];
  printable(value, shown, sizeof shown);
  switch (setting) {
    case SETTING_IMAGE:
      slurm_error("vmrm: %s: '%s' is not the name of an image: lower-case letters, digits, '.', '_' and '-', "
                  "then @REVISION if wanted, or none", source, shown);
      break;
    case SETTING_PER_NODE:
      slurm_error("vmrm: %s: '%s' is not a number of VMs from 1 to 256", source, shown);
      break;
    case SETTING_SCRIPT:
      slurm_error("vmrm: %s: '%s' is neither guest nor host", source, shown);
      break;
    case SETTING_STRATEGY:
      slurm_error("vmrm: %s: '%s' is neither all-or-nothing nor best-effort", source, shown);
      break;
    default: slurm_error(no_checkpoint, source);
  }
}

bool request_give(enum setting setting, const char *value) {
  bool accepted = false;
  char *copy = NULL;
  if (value == NULL) value = "";
  if (!is_valid(setting, value)) {
    refuse(setting, setting_names[setting].option, value);
    goto end;
  }
  copy = strdup(value);
  if (copy == NULL) {
    slurm_error("vmrm: out of memory");
    goto end;
  }
  free(given[setting]);
  given[setting] = copy;
  accepted = true;
end:
  return accepted;
}

const char *request_given(enum setting setting) { return given[setting]; }

// An option wins over the environment. An empty variable is the same as none. False: the variable's value was refused.
static bool choose(enum setting setting, const char **value) {
  *value = given[setting];
  if (*value != NULL) return true;
  const char *variable = getenv(setting_names[setting].variable);
  if (variable == NULL || variable[0] == '\0') return true;
  if (is_valid(setting, variable)) {
    *value = variable;
    return true;
  }
  refuse(setting, setting_names[setting].variable, variable);
  return false;
}

bool request_wants_vm(const struct request *request) { return request->image != NULL && !is_opt_out(request->image); }

bool request_resolve(struct request *request) {
  const char *checkpoint = NULL;
  *request = (struct request){0};
  if (!choose(SETTING_IMAGE, &request->image)) return false;
  if (!request_wants_vm(request)) {
    // Variables are habits of an account and may stand for another job; an option is meant for this one.
    for (int setting = SETTING_PER_NODE; setting < SETTING_COUNT; setting++) {
      if (given[setting] == NULL) continue;
      slurm_error("vmrm: %s needs an image: add --vm-image=NAME", setting_names[setting].option);
      return false;
    }
    return true;
  }
  if (!choose(SETTING_PER_NODE, &request->per_node) || !choose(SETTING_SCRIPT, &request->script)) return false;
  if (!choose(SETTING_STRATEGY, &request->strategy) || !choose(SETTING_CHECKPOINT, &checkpoint)) return false;
  if (request->per_node == NULL) request->per_node = "1";
  if (request->script == NULL) request->script = "guest";
  return true;
}
