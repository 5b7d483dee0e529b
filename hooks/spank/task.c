// The node's side, in slurmstepd: does this task belong into a VM, and if so, into it.
// A task of a VM job must never run on the host: every doubt here ends the task.
#define _GNU_SOURCE
#include "task.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../paths.h"
#include "syntax.h"

// SLURM_BATCH_SCRIPT of slurm.h, which a plug-in need not have installed.
enum { BATCH_STEP = 0xfffffffbU };

enum marker { MARKER_ABSENT, MARKER_GUEST, MARKER_HOST };

static char option_image[160];

void task_note_option(const char *image) {
  // Checked when it was submitted; here it only has to be told from `none`.
  if (image != NULL) snprintf(option_image, sizeof option_image, "%s", image);
}

static _Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
static _Noreturn void fail(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  dprintf(STDERR_FILENO, "vmrm: ");
  vdprintf(STDERR_FILENO, format, arguments);
  dprintf(STDERR_FILENO, "\n");
  va_end(arguments);
  _exit(EXIT_FAILURE);
}

// A marker that is there and cannot be read ends the task; one with another text counts as script=guest.
static enum marker read_marker(uint32_t job) {
  static const char host[] = "script=host\n";
  char path[sizeof VMRM_MARKERS + 16], text[32] = "";
  snprintf(path, sizeof path, "%s/%u", VMRM_MARKERS, job);
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0 && (errno == ENOENT || errno == ENOTDIR)) return MARKER_ABSENT;
  if (fd < 0) fail("cannot read %s: %s; this job's tasks may not run outside its VMs", path, strerror(errno));
  ssize_t length = read(fd, text, sizeof text - 1);
  close(fd);
  if (length < 0 || strncmp(text, host, sizeof host - 1) != 0) return MARKER_GUEST;
  const char *rest = text + sizeof host - 1;
  return *rest == '\0' || strncmp(rest, "restart=", 8) == 0 ? MARKER_HOST : MARKER_GUEST;
}

static const char *find_variable(char **environment, const char *name) {
  size_t length = strlen(name);
  for (char **entry = environment; entry != NULL && *entry != NULL; entry++)
    if (strncmp(*entry, name, length) == 0 && (*entry)[length] == '=') return *entry + length + 1;
  return NULL;
}

static bool names_image(const char *image) { return image != NULL && image[0] != '\0' && !is_opt_out(image); }

// The job is named, since in steps of a heterogeneous job's later components SLURM_JOB_ID is the first one's.
static _Noreturn void run_in_vm(uint32_t job, char **command, int count, char **environment) {
  char number[16];
  char **argv = calloc((size_t)count + 5, sizeof *argv);
  if (argv == NULL) fail("out of memory");
  snprintf(number, sizeof number, "%u", job);
  argv[0] = VMRM_TASK_RUNNER;
  argv[1] = "--job";
  argv[2] = number;
  argv[3] = "--";
  memcpy(argv + 4, command, (size_t)count * sizeof *argv);
  execve(VMRM_TASK_RUNNER, argv, environment);
  fail("cannot start %s: %s; vmrm is not completely installed on this node", VMRM_TASK_RUNNER, strerror(errno));
}

void task_enter_vm(spank_t spank) {
  uint32_t job = 0, step = 0;
  char **environment = NULL, **command = NULL;
  int count = 0;
  if (spank_get_item(spank, S_JOB_ID, &job) != ESPANK_SUCCESS ||
      spank_get_item(spank, S_JOB_STEPID, &step) != ESPANK_SUCCESS ||
      spank_get_item(spank, S_JOB_ENV, &environment) != ESPANK_SUCCESS)
    fail("slurmstepd does not say which job this task belongs to");

  // The marker is root's word and counts whatever the user's environment says.
  enum marker marker = read_marker(job);
  if (marker == MARKER_ABSENT) {
    if (!names_image(find_variable(environment, "SLURM_SPANK_VMRM_IMAGE")) && !names_image(option_image)) return;
    fail("this job asked for VMs, but none were made on this node: vmrm is not installed here, or was switched off; "
         "please tell the administrators of this cluster");
  }
  if (marker == MARKER_HOST && step == BATCH_STEP) return;
  if (spank_get_item(spank, S_JOB_ARGV, &count, &command) != ESPANK_SUCCESS || count < 1 || command == NULL)
    fail("slurmstepd does not say what this task runs");
  run_in_vm(job, command, count, environment);
}
