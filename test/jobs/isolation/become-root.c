// Setuid in a test's image: the guest's user starts a command as the guest's root. Never part of an image for users.
#define _GNU_SOURCE
#include <grp.h>
#include <unistd.h>

int main(int argc, char **argv) {
  if (argc < 2 || setgroups(0, NULL) != 0 || setgid(0) != 0 || setuid(0) != 0) return 126;
  execvp(argv[1], argv + 1);
  return 127;
}
