/*
 * Owns the signals that Slurm and people send to this process: which one, and for whom in the guest.
 * Must never act on them: it says what came, the session decides.
 *
 * Found by trying Slurm 22.05 with scripts and steps that log what they and their children get:
 *   scancel JOB, time limit, preemption   CONT, then TERM: with proctrack/cgroup to the first process of the script and of each task, with
 *                                         its SignalChildrenProcesses=yes and other proctrack plug-ins to every process
 *   scancel --full --signal=S             S to the script's process group
 *   scancel --batch --signal=S,           S to the script's first process only
 *     sbatch --signal=B:S@N
 *   scancel --signal=S, a signal to srun  nothing to the batch script; to the tasks of each step like TERM above
 *   scontrol suspend, gang scheduling     TSTP to every process, STOP two seconds later; CONT on resume
 * A kill of one process and of its group look the same to that process. So a canary, a child in the same group that only reports, tells them
 * apart: what it hears too is for everyone, what it does not hear within 50 ms was for the first process alone.
 * Everyone is then everyone of the session in the guest; children that left the group get --full's signals too.
 */
#ifndef RUN_SIGNALS_H
#define RUN_SIGNALS_H

#include "session.h"

#include <stdbool.h>
#include <stdint.h>

struct signals {
	int fd; /* signalfd */
	int canary_fd; /* -1: none, or it is gone */
	int canary_pid;
	int64_t ripe_at_ms[65]; /* by number: when to decide that the canary heard nothing; 0: not waiting */
	int64_t heard_at_ms[65]; /* by number: the canary heard it first */
};

struct heard_signal {
	int number;
	enum signal_scope scope;
};

/* Blocks every signal that can be forwarded. Starts the canary first, where it is small. False: the kernel refused. */
bool signals_init(struct signals *signals);
/* The next signal to act on; false: none just now. Call it again until it is false, and when signals_wait_ms has passed. */
bool signals_next(struct signals *signals, int64_t now, struct heard_signal *heard);
/* Milliseconds until a signal is decided; -1: none waits. */
int signals_wait_ms(const struct signals *signals, int64_t now);
/* Ends the canary. */
void signals_end(struct signals *signals);

#endif
