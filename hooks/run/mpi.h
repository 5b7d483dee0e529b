/*
 * Owns what Slurm's MPI plug-in has given a task: which connection leads to slurmstepd, and which variables name it.
 * Must never connect anywhere, and never let a task start whose MPI could not work.
 */
#ifndef RUN_MPI_H
#define RUN_MPI_H

#include "job.h"
#include "spec_bytes.h"
#include "wire.h"

#include <stdbool.h>

enum mpi_kind { MPI_NONE, MPI_INHERITED, MPI_SERVER };

struct mpi {
	enum mpi_kind kind;
	int fd;          /* MPI_INHERITED: slurmstepd's socket */
	unsigned number; /* and what it is called in the guest */
	struct sockaddr_in server; /* MPI_SERVER */
	char address[32]; /* of it, as the variables say it */
	bool is_split; /* the node's tasks are in several VMs, which Slurm does not know */
};

/* The descriptor that must stay open until mpi_read; -1: none. Looks at the environment alone. */
int mpi_kept_fd(void);
/* Returns 0, or the exit code after it said on stderr what is wrong. */
int mpi_read(struct mpi *mpi, const struct job *job);
/* Connects the wire to what was read. False: errno. */
bool mpi_open_wire(const struct mpi *mpi, struct wire *wire);
/* The variable as the guest gets it: `entry` itself, or other text in `room`; NULL: not at all. */
const char *mpi_variable(const struct mpi *mpi, const char *entry, char *room, size_t size);
/* Puts what else the guest needs: the wire, and variables that are not there yet. */
bool mpi_put(const struct mpi *mpi, struct spec_bytes *spec);

#endif
