/* Owns what vmrm-run knows of its place in the job: the command line and Slurm's variables. Must never contact anyone. */
#ifndef RUN_JOB_H
#define RUN_JOB_H

#include <stdbool.h>
#include <stdint.h>

struct job {
	const char *socket_path;
	const char *id; /* decimal text */
	char step[64];  /* for people: batch, 0.3 */
	bool is_batch;
	bool has_vm; /* --vm: this VM, whatever the task's number */
	uint32_t vm;
	uint32_t local_id;
	uint32_t local_count;
	uint32_t rank;
	bool is_prolog; /* --as prolog: what runs before a task, in its VM */
	bool is_bcast;  /* srun --bcast: the program lies on the node's disk only */
	const char *task_prolog; /* srun --task-prolog; NULL: none */
	const char *task_epilog; /* srun --task-epilog, which no task in a VM can have; NULL: none */
	const char *folder; /* --chdir, or the guest's folder where srun or sbatch was called; NULL: where we are */
	unsigned give_up_ms; /* how long vmrmd may be away */
	char **argv;
	int argc;
};

/* Returns 0, or the exit code after it said on stderr what is wrong. */
int job_read(struct job *job, int argc, char **argv);

/* The count for node `index` in Slurm's form "2(x3),1"; 0 if there is none. */
uint32_t job_tasks_on_node(const char *counts, uint32_t index);

#endif
