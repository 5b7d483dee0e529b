// vmrm-gate stands in front of the four hooks: a job without a VM passes in a fraction of a millisecond, whatever else is missing.
// It decides by the basename of argv[0], SPANK_VMRM_IMAGE, and for a job without that by one file: the job's marker on a node,
// the flag of default images on the controller. It must never fail for a job without a VM.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../paths.h"
#include "environment.h"
#include "marker.h"

enum { HIGHEST_FD_TO_CLOSE = 4096 };

enum kind { PROLOG, EPILOG, PROLOG_SLURMCTLD, EPILOG_SLURMCTLD, UNKNOWN };

// The paths are constants: nothing of argv or the environment becomes a part of one.
static const struct {
  const char *name;
  char *path;
} hooks[] = {
    [PROLOG] = {"prolog", VMRM_LIB_DIR "/vmrm-prolog"},
    [EPILOG] = {"epilog", VMRM_LIB_DIR "/vmrm-epilog"},
    [PROLOG_SLURMCTLD] = {"prolog-slurmctld", VMRM_LIB_DIR "/vmrm-prolog-slurmctld"},
    [EPILOG_SLURMCTLD] = {"epilog-slurmctld", VMRM_LIB_DIR "/vmrm-epilog-slurmctld"},
};

static enum kind kind_of(const char *argv0) {
  const char *slash = argv0 == NULL ? NULL : strrchr(argv0, '/');
  const char *name = slash != NULL ? slash + 1 : argv0 != NULL ? argv0 : "";
  int kind = PROLOG;
  while (kind < UNKNOWN && strcmp(name, hooks[kind].name) != 0) kind++;
  return (enum kind)kind;
}

// Before any file is opened: with 0-2 closed, the marker itself could become the hook's stderr.
static void fill_standard_fds(void) {
  int fd;
  do fd = open("/dev/null", O_RDWR);
  while (fd >= 0 && fd <= 2);
  if (fd > 2) close(fd);
}

static void close_others(void) {
#ifdef SYS_close_range
  if (syscall(SYS_close_range, 3U, ~0U, 0) == 0) return;
#endif
  for (int fd = 3; fd < HIGHEST_FD_TO_CLOSE; fd++) close(fd);
}

// Returns only if the hook cannot be started.
static void become_hook(enum kind kind, char *environment[]) {
  sigset_t none;
  char *const argv[] = {hooks[kind].path, NULL};
  char **clean = environment_clean(environment);
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  close_others();
  if (clean != NULL && chdir("/") == 0) execve(argv[0], argv, clean);
  fprintf(stderr, "vmrm-gate: cannot start %s: %s\n", hooks[kind].path, strerror(errno));
  free(clean);
}

// The epilog's marker outlives the hook, so the gate waits. A hook that dies is not the node's fault: vmrmd cleans up after it.
static int run_epilog(char *environment[]) {
  int status = 0;
  struct sigaction plain = {.sa_handler = SIG_DFL};
  sigaction(SIGCHLD, &plain, NULL);
  pid_t pid = fork();
  if (pid == 0) {
    become_hook(EPILOG, environment);
    _exit(0);
  }
  if (pid < 0) {
    fprintf(stderr, "vmrm-gate: cannot start %s: %s\n", hooks[EPILOG].path, strerror(errno));
    return 0;
  }
  while (waitpid(pid, &status, 0) < 0)
    if (errno != EINTR) return 0;
  if (WIFEXITED(status)) return WEXITSTATUS(status);
  fprintf(stderr, "vmrm-gate: %s was killed by signal %d\n", hooks[EPILOG].path, WTERMSIG(status));
  return 0;
}

static bool exists(const char *path) {
  struct stat found;
  return lstat(path, &found) == 0;
}

static bool is_switched_off(void) { return exists(VMRM_OFF_SWITCH); }

// A job that names no image may have one all the same, decided when it was submitted.
static bool may_have_default(enum kind kind, const char *job) {
  switch (kind) {
    case PROLOG:
    case EPILOG: return marker_exists(job);
    case PROLOG_SLURMCTLD:
    case EPILOG_SLURMCTLD: return exists(VMRM_DEFAULTS_FLAG);
    default: return false;
  }
}

static int pass(enum kind kind, const char *image, const char *job, char *environment[]) {
  const char *script = environment_find(environment, "SPANK_VMRM_SCRIPT");
  int code = 0;
  if (kind == PROLOG && image != NULL &&
      !marker_write(job, script != NULL && strcmp(script, "host") == 0 ? "host" : "guest"))
    return 1;
  if (kind == EPILOG) {
    if (!is_switched_off()) code = run_epilog(environment);
    marker_remove(job);
    return code;
  }
  // Whether such a job has an image only the hook can find out, and if it has one it must not go on without its VMs.
  bool must_ask = kind == PROLOG_SLURMCTLD && image == NULL;
  if (is_switched_off() && !must_ask) return 0;
  become_hook(kind, environment);
  return kind == PROLOG ? 1 : 0;
}

int main(int argc, char *argv[], char *environment[]) {
  const char *image = environment_find(environment, "SPANK_VMRM_IMAGE");
  const char *job = environment_find(environment, "SLURM_JOB_ID");
  enum kind kind = kind_of(argc > 0 ? argv[0] : NULL);
  if (image != NULL ? strcmp(image, "none") == 0 : !may_have_default(kind, job)) return 0;
  fill_standard_fds();
  umask(022);
  if (kind != UNKNOWN) return pass(kind, image, job, environment);
  // A wrong name in slurm.conf: the job's tasks fail for want of a marker, and no node drains.
  fprintf(stderr, "vmrm-gate: slurm.conf must name it as %s/gate/prolog, epilog, prolog-slurmctld or epilog-slurmctld\n",
          VMRM_LIB_DIR);
  return 0;
}
