/*
 * Owns one of Slurm's commands as a process in the guest sees it: the agent's binary started under that command's name.
 * Must never run the command itself: the host does, through the agent.
 */
#ifndef VMRM_CALLER_CALLER_H
#define VMRM_CALLER_CALLER_H

/* Becomes the command; never returns. `argv[0]` names it. */
_Noreturn void caller_main(int argc, char **argv);

#endif
