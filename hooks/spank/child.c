// One short-lived child process with a clean environment, a time bound and a bounded stderr.
// It must leave the caller, which is sbatch, salloc or srun, as it was: no zombie, no descriptor, no changed handler.
#define _GNU_SOURCE
#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { TICK_MS = 20, TICK_AFTER_EOF_MS = 1, HIGHEST_FD_TO_CLOSE = 4096 };

static long now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000L + now.tv_nsec / 1000000L;
}

static void close_from(unsigned first) {
#ifdef SYS_close_range
  if (syscall(SYS_close_range, first, ~0U, 0) == 0) return;
#endif
  for (unsigned fd = first; fd < HIGHEST_FD_TO_CLOSE; fd++) close((int)fd);
}

// In the child, between fork and execve: async-signal-safe calls only, since the parent may have threads.
static _Noreturn void become(char *const argv[], int stderr_fd, pid_t parent) {
  static char *const clean[] = {"PATH=/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL=C.UTF-8", NULL};
  struct sigaction action = {.sa_handler = SIG_DFL};
  sigset_t none;
  for (int number = 1; number < NSIG; number++) sigaction(number, &action, NULL);
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  // Ctrl-C ends sbatch: the child goes with it.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(CHILD_NOT_EXECUTED);
  int null = open("/dev/null", O_RDWR);
  // Where the caller runs with 0-2 closed, the pipe may have one of these numbers: move it out of the way first.
  int high = fcntl(stderr_fd, F_DUPFD, 3);
  if (null < 0 || high < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(high, 2) < 0) _exit(CHILD_NOT_EXECUTED);
  close_from(3);
  // The runtime of the command line refuses to start in a deleted folder.
  if (chdir("/") != 0) _exit(CHILD_NOT_EXECUTED);
  execve(argv[0], argv, clean);
  _exit(CHILD_NOT_EXECUTED);
}

// Appends what is there to read; what no longer fits is read and dropped. False at the end of the stream.
static bool drain(int fd, char *text, size_t *used) {
  char chunk[1024];
  ssize_t got = read(fd, chunk, sizeof chunk);
  if (got < 0) return errno == EINTR || errno == EAGAIN;
  size_t room = CHILD_TEXT_BYTES - 1 - *used;
  size_t kept = (size_t)got < room ? (size_t)got : room;
  memcpy(text + *used, chunk, kept);
  *used += kept;
  return got > 0;
}

static bool ended(pid_t pid, int *status) {
  pid_t reaped = waitpid(pid, status, WNOHANG);
  // Somebody else reaped it: its answer is not known.
  if (reaped < 0 && errno != EINTR) *status = CHILD_NOT_EXECUTED << 8;
  return reaped == pid || (reaped < 0 && errno != EINTR);
}

// Waits for the end of the process, not of its stderr, which a grandchild may hold open. False: the time is over.
static bool await(pid_t pid, int fd, long deadline, struct child_result *result, int *status) {
  size_t used = 0;
  bool is_open = true, has_ended = false;
  for (;;) {
    has_ended = has_ended || ended(pid, status);
    struct pollfd readable = {.fd = is_open ? fd : -1, .events = POLLIN};
    // After its end everything it wrote is in the pipe; a grandchild that goes on writing is bounded by the deadline.
    int tick = has_ended ? 0 : is_open ? TICK_MS : TICK_AFTER_EOF_MS;
    int ready = poll(&readable, 1, tick);
    if (ready > 0) is_open = drain(fd, result->text, &used);
    result->text[used] = '\0';
    if (has_ended && ready <= 0) return true;
    if (has_ended && (!is_open || used == CHILD_TEXT_BYTES - 1)) return true;
    if (now_ms() >= deadline) return has_ended;
  }
}

enum child_end child_run(char *const argv[], int bound_ms, struct child_result *result) {
  enum child_end end = CHILD_NOT_STARTED;
  struct sigaction plain = {.sa_handler = SIG_DFL}, before;
  int pipe_fds[2], status = 0;
  long deadline = now_ms() + bound_ms;
  *result = (struct child_result){0};
  // Where SIGCHLD is ignored children cannot be waited for; where it has a handler, this child is none of its business.
  if (sigaction(SIGCHLD, &plain, &before) != 0) return end;
  if (pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK) != 0) goto restore;
  pid_t self = getpid(), pid = fork();
  if (pid == 0) {
    // The other end stays non-blocking for us alone: O_NONBLOCK belongs to each end's own description.
    fcntl(pipe_fds[1], F_SETFL, 0);
    become(argv, pipe_fds[1], self);
  }
  close(pipe_fds[1]);
  if (pid < 0) goto close_pipe;
  if (!await(pid, pipe_fds[0], deadline, result, &status)) {
    kill(pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
    end = CHILD_TIMED_OUT;
  } else if (WIFSIGNALED(status)) {
    end = CHILD_SIGNALED;
    result->code = WTERMSIG(status);
  } else {
    end = CHILD_EXITED;
    result->code = WEXITSTATUS(status);
  }
close_pipe:
  close(pipe_fds[0]);
restore:
  sigaction(SIGCHLD, &before, NULL);
  return end;
}
