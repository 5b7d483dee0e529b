// Options of srun and sbatch themselves that vmrm-run must know. It must never refuse one, and never change what Slurm makes of it.
#define _GNU_SOURCE
#include "step-options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../lib/guest/call/grammar.h"
#include "command-line.h"

static const struct {
  const char *option;
  const char *inputs[2];  // srun's own variables for it; of two the later counts (its table, 22.05)
  const char *variable;
  int is_for_jobs;  // sbatch has it too
  int is_flag;      // its value does not matter
} told[] = {
    {"multi-prog", {"SLURM_SRUN_MULTI"}, MULTI_PROG_VARIABLE, 0, 1},
    {"bcast", {"SLURM_BCAST"}, BCAST_VARIABLE, 0, 1},
    {"task-prolog", {"SLURM_TASK_PROLOG"}, TASK_PROLOG_VARIABLE, 0, 0},
    {"task-epilog", {"SLURM_TASK_EPILOG"}, TASK_EPILOG_VARIABLE, 0, 0},
    {"chdir", {"SLURM_REMOTE_CWD", "SLURM_WORKING_DIR"}, FOLDER_VARIABLE, 1, 0},
};
enum { TOLD_COUNT = sizeof told / sizeof told[0] };

void step_options_forget(void) {
  for (size_t i = 0; i < TOLD_COUNT; i++) unsetenv(told[i].variable);
}

static void tell(size_t index, const char *value) {
  if (told[index].is_flag) value = "1";
  if (value != NULL && value[0] != '\0') setenv(told[index].variable, value, 1);
}

static void tell_environment(void) {
  for (size_t i = 0; i < TOLD_COUNT; i++)
    for (size_t input = 0; input < 2; input++) {
      const char *value = told[i].inputs[input] == NULL ? NULL : getenv(told[i].inputs[input]);
      if (value != NULL) tell(i, value);
    }
}

static void tell_command_line(int is_step) {
  struct command_line line;
  struct option_walk walk;
  struct option option;
  command_line_read(&line);
  option_walk_start(&walk, grammar_of(is_step ? "srun" : "sbatch"), line.count, line.words);
  while (option_walk_next(&walk, &option))
    for (size_t i = 0; i < TOLD_COUNT; i++)
      if ((is_step || told[i].is_for_jobs) && strcmp(option.name, told[i].option) == 0) tell(i, option.value);
  command_line_free(&line);
}

// Where Slurm starts from: the guest's folder, in a call from there; else ours.
static void make_absolute(char *folder) {
  const char *of_caller = getenv(CALLER_FOLDER_VARIABLE);
  char *own = of_caller == NULL ? getcwd(NULL, 0) : NULL, *path = NULL;
  const char *base = of_caller != NULL ? of_caller : own;
  if (base != NULL && asprintf(&path, "%s/%s", base, folder) >= 0) {
    setenv(FOLDER_VARIABLE, path, 1);
    free(path);
  }
  free(own);
}

void step_options_announce(int is_step) {
  const char *of_caller = getenv(CALLER_FOLDER_VARIABLE);
  if (of_caller != NULL) setenv(FOLDER_VARIABLE, of_caller, 1);
  if (is_step) tell_environment();
  tell_command_line(is_step);
  char *folder = getenv(FOLDER_VARIABLE);
  if (folder != NULL && folder[0] != '/') make_absolute(folder);
  // A script of this job on the host must not hand it on to what it submits.
  unsetenv(CALLER_FOLDER_VARIABLE);
}
