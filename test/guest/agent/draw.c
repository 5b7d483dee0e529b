// Draws random numbers from a guest's boot on, until it has had another host name for a while: a line for each in /run/drawn,
// with the guest's time before it in ms. Part of a test's image only.
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/utsname.h>
#include <time.h>

enum { drawsAsAnother = 100 };

int main(void) {
  struct utsname first, now;
  int left = drawsAsAnother;
  FILE *drawn = fopen("/run/drawn", "w");
  if (drawn == NULL || uname(&first) != 0) return 1;
  while (left > 0 && uname(&now) == 0) {
    struct timespec time;
    unsigned long long number[2];
    clock_gettime(CLOCK_MONOTONIC, &time);
    if (getrandom(number, sizeof number, 0) != (ssize_t)sizeof number) return 1;
    fprintf(drawn, "%lld %016llx%016llx\n", (long long)time.tv_sec * 1000 + time.tv_nsec / 1000000, number[0], number[1]);
    fflush(drawn);
    if (strcmp(first.nodename, now.nodename) != 0) left--;
    nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
  }
  return fputs("end\n", drawn) < 0 || fclose(drawn) != 0;
}
