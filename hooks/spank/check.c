// The question to the controller, before there is a job: may this user have this image?
// It runs the command line as a child and must leave no zombie, no descriptor and no changed signal handler in sbatch.
#define _GNU_SOURCE
#include "check.h"

#include <stdio.h>
#include <string.h>

#include "../paths.h"
#include "child.h"
#include "slurm.h"
#include "syntax.h"

enum { CHECK_BOUND_MS = 5000, EXIT_REFUSED = 65, LINE_MAX_BYTES = 400 };

static void show_refusal(char *text) {
  char line[LINE_MAX_BYTES], *rest = text;
  char *next = strtok_r(text, "\n", &rest);
  if (next == NULL) slurm_error("vmrm: the controller refused this request");
  for (; next != NULL; next = strtok_r(NULL, "\n", &rest)) slurm_error("%s", printable(next, line, sizeof line));
}

static void warn(const char *why) {
  slurm_spank_log("vmrm: warning: the image could not be checked before submitting (%s); it will be when the job starts", why);
}

enum check_result check_request(const struct request *request) {
  char image[160], per_node[32], script[32], strategy[48], why[64];
  snprintf(image, sizeof image, "--image=%s", request->image);
  snprintf(per_node, sizeof per_node, "--per-node=%s", request->per_node);
  snprintf(script, sizeof script, "--script=%s", request->script);
  if (request->strategy != NULL) snprintf(strategy, sizeof strategy, "--strategy=%s", request->strategy);
  char *const argv[] = {VMRM_CLI, "check-request", image, per_node, script, request->strategy != NULL ? strategy : NULL, NULL};
  struct child_result result;
  switch (child_run(argv, CHECK_BOUND_MS, &result)) {
    case CHILD_EXITED:
      if (result.code == 0) return CHECK_ALLOWED;
      if (result.code == EXIT_REFUSED) {
        show_refusal(result.text);
        return CHECK_REFUSED;
      }
      if (result.code == CHILD_NOT_EXECUTED)
        snprintf(why, sizeof why, "%s cannot be run", VMRM_CLI);
      else
        snprintf(why, sizeof why, "vmrm check-request ended with exit code %d", result.code);
      break;
    case CHILD_SIGNALED: snprintf(why, sizeof why, "vmrm check-request was killed by signal %d", result.code); break;
    case CHILD_TIMED_OUT: snprintf(why, sizeof why, "no answer within %d seconds", CHECK_BOUND_MS / 1000); break;
    default: snprintf(why, sizeof why, "vmrm check-request cannot be started"); break;
  }
  warn(why);
  return CHECK_UNKNOWN;
}
