// The marker of a job on this node, VMRM_RUN_DIR/jobs/JOBID: root's word to slurmstepd that the job's tasks belong into VMs.
// It must follow no symbolic link, trust no folder that others may write, and take no path from the environment.
#define _GNU_SOURCE
#include "marker.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../paths.h"

// Job ids are 32-bit numbers from 1 on; anything but their plain decimal form is refused.
static bool is_job_id(const char *text) {
  unsigned long long number = 0;
  size_t length = text == NULL ? 0 : strspn(text, "0123456789");
  if (length < 1 || length > 10 || text[length] != '\0' || text[0] == '0') return false;
  for (const char *digit = text; *digit != '\0'; digit++) number = number * 10 + (unsigned)(*digit - '0');
  return number <= 0xffffffffULL;
}

static int open_own_folder(int parent, const char *name) {
  struct stat folder;
  int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return -1;
  if (fstat(fd, &folder) == 0 && folder.st_uid == geteuid() && (folder.st_mode & 022) == 0) return fd;
  close(fd);
  errno = EPERM;
  return -1;
}

// The folder of the markers, made if it is missing, as after a boot. Negative: errno says why.
static int open_folder(void) {
  int folder = -1;
  if (mkdir(VMRM_RUN_DIR, 0755) != 0 && errno != EEXIST) return -1;
  int run = open_own_folder(AT_FDCWD, VMRM_RUN_DIR);
  if (run < 0) return -1;
  if (mkdirat(run, "jobs", 0755) == 0 || errno == EEXIST) folder = open_own_folder(run, "jobs");
  int error = errno;
  close(run);
  errno = error;
  return folder;
}

static int create(int folder, const char *name) {
  const int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
  int fd = openat(folder, name, flags, 0644);
  // Left by a gate that was killed and had the same process id.
  if (fd < 0 && errno == EEXIST && unlinkat(folder, name, 0) == 0) fd = openat(folder, name, flags, 0644);
  return fd;
}

bool marker_write(const char *job, const char *script) {
  char staged[32], text[32];
  int length = snprintf(text, sizeof text, "script=%s\n", script), folder = -1, fd = -1;
  bool is_written = false;
  errno = EINVAL;
  if (!is_job_id(job)) goto end;
  folder = open_folder();
  if (folder < 0) goto end;
  snprintf(staged, sizeof staged, ".%ld", (long)getpid());
  fd = create(folder, staged);
  if (fd < 0) goto end;
  is_written = write(fd, text, (size_t)length) == length && fchmod(fd, 0644) == 0 &&
               renameat(folder, staged, folder, job) == 0;
  if (!is_written) {
    int error = errno;
    unlinkat(folder, staged, 0);
    errno = error;
  }
end:
  if (!is_written)
    fprintf(stderr, "vmrm-gate: cannot write the marker of job %.10s in %s: %s\n", job == NULL ? "?" : job,
            VMRM_MARKERS, strerror(errno));
  if (fd >= 0) close(fd);
  if (folder >= 0) close(folder);
  return is_written;
}

bool marker_exists(const char *job) {
  struct stat marker;
  char path[sizeof VMRM_MARKERS + 16];
  if (!is_job_id(job)) return false;
  snprintf(path, sizeof path, "%s/%s", VMRM_MARKERS, job);
  return lstat(path, &marker) == 0;
}

bool marker_remove(const char *job) {
  bool is_gone = false;
  int folder = -1;
  errno = EINVAL;
  if (!is_job_id(job)) goto end;
  folder = open_folder();
  if (folder < 0) goto end;
  is_gone = unlinkat(folder, job, 0) == 0 || errno == ENOENT;
end:
  if (!is_gone)
    fprintf(stderr, "vmrm-gate: cannot remove the marker of job %.10s in %s: %s\n", job == NULL ? "?" : job,
            VMRM_MARKERS, strerror(errno));
  if (folder >= 0) close(folder);
  return is_gone;
}
