// First program of the tiny image's guest: modules, disk, mounts, loopback; then busybox init from the disk takes over.
// A shell script would do the same 0.5 s later under TCG, for its forks. It must never go on after a failure: it ends,
// the kernel panics, and the console's last line says why.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { disk_wait_ms = 5000, ports_wait_ms = 1000, poll_ms = 5 };

static void fail(const char *doing, const char *what) {
  printf("vmrm image: %s %s: %s\n", doing, what, strerror(errno));
  fflush(stdout);
  exit(1);
}

static int is_name(const struct dirent *entry) { return entry->d_name[0] != '.'; }

// The names are numbered in the order of need.
static void load_modules(void) {
  struct dirent **entries;
  int count = scandir("/modules", &entries, is_name, alphasort);
  if (count < 0) fail("read", "/modules");
  for (int i = 0; i < count; i++) {
    char path[300];
    snprintf(path, sizeof path, "/modules/%s", entries[i]->d_name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) != 0 && errno != EEXIST)) fail("load", path);
    close(fd);
  }
}

static void pause_shortly(void) { nanosleep(&(struct timespec){.tv_nsec = poll_ms * 1000000L}, NULL); }

static void await_disk(void) {
  for (int waited_ms = 0; access("/dev/vda", F_OK) != 0; waited_ms += poll_ms) {
    if (waited_ms >= disk_wait_ms) fail("find the disk", "/dev/vda");
    pause_shortly();
  }
}

struct mount_point {
  const char *type, *target, *options;
  unsigned long flags;
};

static const struct mount_point mount_points[] = {
    {"devtmpfs", "/root/dev", "", MS_NOSUID},
    {"devpts", "/root/dev/pts", "gid=5,mode=620,ptmxmode=666", MS_NOSUID | MS_NOEXEC},
    {"tmpfs", "/root/dev/shm", "mode=1777", MS_NOSUID | MS_NODEV},
    {"proc", "/root/proc", "", MS_NOSUID | MS_NODEV | MS_NOEXEC},
    {"sysfs", "/root/sys", "", MS_NOSUID | MS_NODEV | MS_NOEXEC},
    {"cgroup2", "/root/sys/fs/cgroup", "", MS_NOSUID | MS_NODEV | MS_NOEXEC},
    {"tmpfs", "/root/run", "mode=755,size=20%", MS_NOSUID | MS_NODEV},
    {"tmpfs", "/root/tmp", "mode=1777,size=50%", MS_NOSUID | MS_NODEV},
};

static void mount_all(void) {
  if (mount("/dev/vda", "/root", "ext4", MS_NOATIME, "noinit_itable") != 0) fail("mount", "/dev/vda");
  for (size_t i = 0; i < sizeof mount_points / sizeof *mount_points; i++) {
    const struct mount_point *point = &mount_points[i];
    mkdir(point->target, 0755);
    if (mount(point->type, point->target, point->type, point->flags, point->options) != 0) fail("mount", point->target);
  }
  if (symlink("/proc/self/fd", "/root/dev/fd") != 0 || symlink("fd/0", "/root/dev/stdin") != 0 ||
      symlink("fd/1", "/root/dev/stdout") != 0 || symlink("fd/2", "/root/dev/stderr") != 0)
    fail("link", "/dev/fd");
}

// Names one port as udev would: /dev/virtio-ports/NAME. A port gets its name shortly after it appears.
static int link_port(const char *port) {
  char path[300], name[128], target[300], link_path[300];
  snprintf(path, sizeof path, "/root/sys/class/virtio-ports/%s/name", port);
  FILE *file = fopen(path, "re");
  if (file == NULL) return 0;
  int known = fscanf(file, "%127s", name) == 1 && strchr(name, '/') == NULL;
  fclose(file);
  if (!known) return 0;
  snprintf(target, sizeof target, "../%s", port);
  snprintf(link_path, sizeof link_path, "/root/dev/virtio-ports/%s", name);
  return symlink(target, link_path) == 0 || errno == EEXIST;
}

// A guest without ports boots all the same, if later: whoever needs one says so better than this program could.
static void link_ports(void) {
  if (mkdir("/root/dev/virtio-ports", 0755) != 0) fail("make", "/dev/virtio-ports");
  int linked = 0;
  for (int waited_ms = 0; linked == 0 && waited_ms < ports_wait_ms; waited_ms += poll_ms) {
    struct dirent **entries;
    int count = scandir("/root/sys/class/virtio-ports", &entries, is_name, alphasort);
    for (int i = 0; i < count; i++) linked += link_port(entries[i]->d_name);
    if (linked == 0) pause_shortly();
  }
}

// The kernel gives a loopback device that comes up its addresses by itself.
static void raise_loopback(void) {
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
  if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request) != 0) fail("raise", "lo");
  close(fd);
}

// The broken variants of the image are this program beside a file that says how.
static void break_on_purpose(void) {
  if (access("/panics", F_OK) == 0) {
    puts("vmrm image: this image panics on purpose");
    exit(1);
  }
  if (access("/hangs", F_OK) == 0) {
    puts("vmrm image: this image hangs on purpose");
    for (;;) pause();
  }
}

int main(void) {
  setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
  if (mount("devtmpfs", "/dev", "devtmpfs", 0, "") != 0) fail("mount", "/dev");
  load_modules();
  break_on_purpose();
  await_disk();
  mount_all();
  link_ports();
  raise_loopback();
  // What switch_root does, but for deleting the few files of the initramfs one by one.
  if (chdir("/root") != 0 || umount2("/dev", MNT_DETACH) != 0 || mount(".", "/", NULL, MS_MOVE, NULL) != 0 ||
      chroot(".") != 0 || chdir("/") != 0)
    fail("switch to", "/root");
  char *const environment[] = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/", NULL};
  execve("/sbin/init", (char *const[]){"init", NULL}, environment);
  fail("start", "/sbin/init");
}
