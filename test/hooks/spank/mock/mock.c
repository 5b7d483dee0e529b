// A SPANK host for tests: it is linked with the plug-in's sources, calls its callbacks as told by its arguments, and prints what
// the plug-in asked of Slurm. It keeps Slurm's contract (what is available in which context) and has no other behaviour.
//
// mock CONTEXT WORD... [-- ARGV...]   WORD: init | post-opt | task-init | opt:NAME[=VALUE] | opt:NAME=@FILE | ignore-sigchld | handle-sigchld
// MOCK_JOB, MOCK_STEP: the items of slurmstepd. MOCK_FAIL: the name of a spank function that fails.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <slurm/spank.h>

extern char **environ;
static enum spank_context context;
static struct spank_option *registered[8];
static int registered_count, command_count;
static char **command;
static volatile sig_atomic_t sigchld_seen;

static int fails(const char *function) {
  const char *name = getenv("MOCK_FAIL");
  return name != NULL && strcmp(name, function) == 0;
}

static int is_submitting(void) { return context == S_CTX_LOCAL || context == S_CTX_ALLOCATOR; }

enum spank_context spank_context(void) { return context; }
int spank_remote(spank_t spank) { return spank == NULL ? -1 : context == S_CTX_REMOTE; }
const char *spank_strerror(spank_err_t error) { return error == ESPANK_SUCCESS ? "Success" : "Generic error"; }

spank_err_t spank_option_register(spank_t spank, struct spank_option *option) {
  if (spank == NULL || option == NULL || option->cb == NULL) return ESPANK_BAD_ARG;
  if (fails("spank_option_register") || registered_count == 8) return ESPANK_ERROR;
  if (strlen(option->name) > SPANK_OPTION_MAXLEN) abort();
  registered[registered_count++] = option;
  return ESPANK_SUCCESS;
}

spank_err_t spank_job_control_setenv(spank_t spank, const char *name, const char *value, int overwrite) {
  if (spank == NULL || !is_submitting()) return ESPANK_NOT_LOCAL;
  if (fails("spank_job_control_setenv")) return ESPANK_ERROR;
  printf("control %s=%s%s\n", name, value, overwrite ? "" : " (kept)");
  return ESPANK_SUCCESS;
}

spank_err_t spank_job_control_unsetenv(spank_t spank, const char *name) {
  (void)name;
  return spank == NULL || !is_submitting() ? ESPANK_NOT_LOCAL : ESPANK_SUCCESS;
}

spank_err_t spank_get_item(spank_t spank, spank_item_t item, ...) {
  spank_err_t result = ESPANK_SUCCESS;
  va_list arguments;
  va_start(arguments, item);
  if (spank == NULL || context != S_CTX_REMOTE) {
    result = ESPANK_NOT_REMOTE;
  } else if (item == S_JOB_ID && !fails("S_JOB_ID")) {
    *va_arg(arguments, uint32_t *) = (uint32_t)strtoul(getenv("MOCK_JOB"), NULL, 10);
  } else if (item == S_JOB_STEPID && !fails("S_JOB_STEPID")) {
    *va_arg(arguments, uint32_t *) = (uint32_t)strtoul(getenv("MOCK_STEP"), NULL, 10);
  } else if (item == S_JOB_ENV && !fails("S_JOB_ENV")) {
    *va_arg(arguments, char ***) = environ;
  } else if (item == S_JOB_ARGV && !fails("S_JOB_ARGV")) {
    *va_arg(arguments, int *) = command_count;
    *va_arg(arguments, char ***) = command;
  } else {
    result = ESPANK_ERROR;
  }
  va_end(arguments);
  return result;
}

static void say(const char *kind, const char *format, va_list arguments) {
  printf("%s ", kind);
  vprintf(format, arguments);
  printf("\n");
}

void slurm_error(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  say("error", format, arguments);
  va_end(arguments);
}

void slurm_spank_log(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  say("log", format, arguments);
  va_end(arguments);
}

static char *value_of(const char *text) {
  size_t size = 0;
  char *value = NULL;
  if (text[0] != '@') return strdup(text);
  FILE *file = fopen(text + 1, "r");
  if (file == NULL) abort();
  // An empty file.
  if (getdelim(&value, &size, '\0', file) < 0) {
    free(value);
    value = strdup("");
  }
  fclose(file);
  return value;
}

static void give_option(const char *word) {
  const char *equals = strchr(word, '=');
  size_t length = equals == NULL ? strlen(word) : (size_t)(equals - word);
  char *value = equals == NULL ? NULL : value_of(equals + 1);
  for (int i = 0; i < registered_count; i++) {
    struct spank_option *option = registered[i];
    if (strlen(option->name) != length || strncmp(option->name, word, length) != 0) continue;
    printf("return %s %d\n", option->name, option->cb(option->val, value, context == S_CTX_REMOTE));
  }
  free(value);
}

static void on_sigchld(int number) {
  (void)number;
  sigchld_seen = 1;
}

static int count_fds(void) {
  int count = 0;
  DIR *folder = opendir("/proc/self/fd");
  if (folder == NULL) abort();
  while (readdir(folder) != NULL) count++;
  closedir(folder);
  return count;
}

// What the plug-in may not leave behind in sbatch.
static void print_state(int fds_before) {
  struct sigaction action;
  sigaction(SIGCHLD, NULL, &action);
  pid_t child = waitpid(-1, NULL, WNOHANG);
  printf("state new-fds=%d children=%s sigchld=%s seen=%d\n", count_fds() - fds_before,
         child < 0 && errno == ECHILD ? "none" : "left",
         action.sa_handler == SIG_DFL ? "default" : action.sa_handler == SIG_IGN ? "ignored" : "handled", sigchld_seen);
}

static void obey(const char *word) {
  spank_t spank = (spank_t)&context;
  if (strcmp(word, "init") == 0) printf("return init %d\n", slurm_spank_init(spank, 0, NULL));
  else if (strcmp(word, "post-opt") == 0) printf("return post-opt %d\n", slurm_spank_init_post_opt(spank, 0, NULL));
  else if (strcmp(word, "task-init") == 0) printf("return task-init %d\n", slurm_spank_task_init(spank, 0, NULL));
  else if (strncmp(word, "opt:", 4) == 0) give_option(word + 4);
  else if (strcmp(word, "ignore-sigchld") == 0) signal(SIGCHLD, SIG_IGN);
  else if (strcmp(word, "handle-sigchld") == 0) signal(SIGCHLD, on_sigchld);
  else abort();
}

int main(int argc, char *argv[]) {
  static const char *const names[] = {"error", "local", "remote", "allocator", "slurmd", "job-script"};
  setvbuf(stdout, NULL, _IOLBF, 0);
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
    if (argc > 1 && strcmp(argv[1], names[i]) == 0) context = (enum spank_context)i;
  int end = 2, fds_before = count_fds();
  while (end < argc && strcmp(argv[end], "--") != 0) end++;
  command = argv + end + 1;
  command_count = end < argc ? argc - end - 1 : 0;
  for (int i = 2; i < end; i++) obey(argv[i]);
  print_state(fds_before);
  return 0;
}
