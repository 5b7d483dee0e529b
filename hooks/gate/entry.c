// The program's entry, before the C library starts: a job without a VM is let through from here.
// The library's start-up (relocations, locale, stdio) costs several times the whole rest of such a process. What runs here
// may call nothing and must decide exactly as main does; on other machines and in instrumented builds main decides alone.
#if defined(__x86_64__)

#include <stddef.h>

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

// `stack` as the kernel leaves it: argc, argv, NULL, environment, NULL. The first SPANK_VMRM_IMAGE counts, as in main.
int gate_is_without_vm(char *const *stack) __attribute__((used, no_stack_protector));
int gate_is_without_vm(char *const *stack) {
  static const char image[] = "SPANK_VMRM_IMAGE=", none[] = "SPANK_VMRM_IMAGE=none";
  char *const *entry = stack + 1 + (size_t)stack[0] + 1;
  for (; *entry != NULL; entry++) {
    size_t length = 0;
    while (length < sizeof none - 1 && (*entry)[length] == none[length]) length++;
    if (length < sizeof image - 1) continue;
    return length == sizeof none - 1 && (*entry)[length] == '\0';
  }
  return 1;
}

#endif
