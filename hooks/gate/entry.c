// The program's entry, before the C library starts: a job without a VM is let through from here.
// The library's start-up (relocations, locale, stdio) costs several times the whole rest of such a process. What runs here
// may call nothing and lets only those through that main would; on other machines and in instrumented builds main decides alone.
#if defined(__x86_64__)

#include <stddef.h>

#include "../paths.h"

__asm__(
    ".globl gate_entry\n"
    ".type gate_entry, @function\n"
    "gate_entry:\n"
    "  xor %ebp, %ebp\n"
    "  push %rdx\n"      // for _start, as all of the stack above
    "  sub $8, %rsp\n"   // calls want 16-byte alignment
    "  lea 16(%rsp), %rdi\n"
    "  call gate_is_without_vm\n"
    "  add $8, %rsp\n"
    "  pop %rdx\n"
    "  test %eax, %eax\n"
    "  jz _start\n"
    "  xor %edi, %edi\n"
    "  mov $231, %eax\n"  // exit_group(0)
    "  syscall\n");

// access(path, F_OK) == 0, without the library.
static inline __attribute__((always_inline)) int exists(const char *path) {
  long result = 21;
  __asm__ volatile("syscall" : "+a"(result) : "D"(path), "S"(0L) : "rcx", "r11", "memory");
  return result == 0;
}

// Bytes one by one: the barrier keeps the compiler from making a call of the library of it.
static inline __attribute__((always_inline)) size_t append(char *to, size_t used, const char *text, size_t most) {
  for (size_t i = 0; i < most && text[i] != '\0'; i++) {
    to[used++] = text[i];
    __asm__ volatile("" ::: "memory");
  }
  to[used] = '\0';
  return used;
}

static inline __attribute__((always_inline)) const char *value_of(const char *entry, const char *name) {
  while (*name != '\0' && *entry == *name) {
    entry++;
    name++;
  }
  return *name == '\0' ? entry : NULL;
}

// `stack` as the kernel leaves it: argc, argv, NULL, environment, NULL. The first occurrence of a variable counts, as in main.
// What a job's id may look like is main's to check; here only too much of it must not overflow.
int gate_is_without_vm(char *const *stack) __attribute__((used, no_stack_protector));
int gate_is_without_vm(char *const *stack) {
  static const char folder[] = VMRM_MARKERS "/", none[] = "none";
  char marker[sizeof folder + 16];
  const char *job = NULL;
  char *const *entry = stack + 1 + (size_t)stack[0] + 1;
  for (; *entry != NULL; entry++) {
    const char *image = value_of(*entry, "SPANK_VMRM_IMAGE=");
    if (job == NULL) job = value_of(*entry, "SLURM_JOB_ID=");
    if (image == NULL) continue;
    const char *rest = value_of(image, none);
    return rest != NULL && *rest == '\0';
  }
  if (exists(VMRM_DEFAULTS_FLAG)) return 0;
  if (job == NULL || *job == '\0') return 1;
  append(marker, append(marker, 0, folder, sizeof folder), job, 15);
  return !exists(marker);
}

#endif
