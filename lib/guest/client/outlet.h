/* Owns one of the two ways out, stdout or stderr: bytes of a stream to its fd. Must never block where the reader is slow. */
#ifndef VMRM_CLIENT_OUTLET_H
#define VMRM_CLIENT_OUTLET_H

#include "stream.h"

#include <stdbool.h>

/* Whose the open files behind stdout and stderr are. */
enum output_owner {
	OUTPUT_OWN,      /* this process's alone, as under slurmstepd */
	OUTPUT_REOPENED, /* others have them too: a pipe is opened anew */
	OUTPUT_SHARED    /* others have them too, and get them from this process */
};

enum outlet_kind { OUTLET_PIPE, OUTLET_SOCKET, OUTLET_FILE, OUTLET_OTHER };

struct outlet {
	int fd;
	enum outlet_kind kind;
	int old_flags; /* -1: unchanged */
	bool is_broken; /* nobody reads any more */
	bool is_told;   /* and the task was told */
	struct vmrm_receiver receiver;
};

void outlet_init(struct outlet *outlet, int fd, enum output_owner owner);
/* A DATA frame of the stream: written at once where that can be, else kept. */
enum vmrm_accepted outlet_take(struct outlet *outlet, const struct vmrm_frame *frame);
/* The fd takes bytes again. */
void outlet_write(struct outlet *outlet);
bool outlet_is_waiting(const struct outlet *outlet);
/* Gives the fd back as it was found. */
void outlet_restore(struct outlet *outlet);

#endif
