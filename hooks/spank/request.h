// What the user asks for: the four options, their environment defaults, and the rules between them.
// It never talks to a daemon and never changes the environment.
#ifndef VMRM_REQUEST_H
#define VMRM_REQUEST_H

#include <stdbool.h>

enum setting { SETTING_IMAGE, SETTING_PER_NODE, SETTING_SCRIPT, SETTING_STRATEGY, SETTING_CHECKPOINT, SETTING_COUNT };

// Of each setting: its option, its environment default, which is its name in the job-control environment too, and as tasks see it.
struct setting_names {
  const char *option;
  const char *variable;
  const char *task_variable;
};
extern const struct setting_names setting_names[SETTING_COUNT];

struct request {
  const char *image;     // NULL: not asked for; may be `none`
  const char *per_node;  // never NULL where there is an image
  const char *script;    // never NULL where there is an image
  const char *strategy;  // NULL: the cluster's
};

// The value of an option, from the command line or a #SBATCH line; the last one counts. False: it was refused with a message.
bool request_give(enum setting setting, const char *value);

// What was given to an option, or NULL.
const char *request_given(enum setting setting);

// Options and environment defaults together. The strings live as long as the process. False: it was refused with a message.
bool request_resolve(struct request *request);

// A VM is asked for, that is, an image other than `none`.
bool request_wants_vm(const struct request *request);

#endif
