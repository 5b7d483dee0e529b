// Times what Slurm pays for a job's four hooks: starts each named program one after another and waits for it.
// usage: spawn-timer ROUNDS PROGRAM...; one line a round: microseconds for all of them together. The environment is passed on.
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>

extern char **environ;

static double now_us(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int run(char *program) {
  char *const argv[] = {program, NULL};
  pid_t pid;
  int status;
  return posix_spawn(&pid, program, NULL, NULL, argv, environ) == 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

int main(int argc, char **argv) {
  long rounds = argc > 2 ? strtol(argv[1], NULL, 10) : 0;
  if (rounds < 1) return 64;
  for (long round = 0; round < rounds; round++) {
    double began = now_us();
    for (int i = 2; i < argc; i++)
      if (!run(argv[i])) return 1;
    printf("%.1f\n", now_us() - began);
  }
  return 0;
}
