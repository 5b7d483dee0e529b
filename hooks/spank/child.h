// One short-lived child process with a clean environment, a time bound and a bounded stderr.
#ifndef VMRM_CHILD_H
#define VMRM_CHILD_H

enum child_end { CHILD_EXITED, CHILD_SIGNALED, CHILD_TIMED_OUT, CHILD_NOT_STARTED };

// The exit code of a child whose program could not be executed, as a shell has it.
enum { CHILD_NOT_EXECUTED = 127, CHILD_TEXT_BYTES = 4096 };

struct child_result {
  int code;                     // exit code, or the signal's number
  char text[CHILD_TEXT_BYTES];  // the beginning of its stderr, terminated
};

// Runs argv[0] (an absolute path), at most `bound_ms`, then kills it. The child is reaped in every case but CHILD_NOT_STARTED.
enum child_end child_run(char *const argv[], int bound_ms, struct child_result *result);

#endif
