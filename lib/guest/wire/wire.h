/*
 * Owns one side of a task's wire: the sockets of its MPI library on this side, and the two streams that carry their bytes to the other.
 * Must never block, hold more than a stream's window, or believe a number in a record.
 *
 * Each stream is a list of records: u32 connection, u32 length, bytes. Length 0: that connection has no more bytes in this direction.
 * Length WIRE_NEW, without bytes: the guest's side has a new connection, for which the host's connects to the server. The guest's side gives
 * connections their numbers: 0 is an inherited socket, which is there from the start, accepted ones follow.
 */
#ifndef VMRM_WIRE_H
#define VMRM_WIRE_H

#include "stream.h"

#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

/* Connections at a time; an MPI library has one a process. */
#define WIRE_ENDS_MAX 8
/* How many places of a poll a wire may take. */
#define WIRE_FDS (WIRE_ENDS_MAX + 1)
#define WIRE_HEADER_BYTES 8u
#define WIRE_NEW UINT32_MAX

struct wire_end {
	int fd; /* -1: free */
	uint32_t number;
	bool is_read_over, is_write_over;
};

struct wire {
	bool is_used;
	int listen_fd; /* -1: none */
	struct sockaddr_in server; /* where a new connection of the other side goes; family 0: nowhere */
	struct vmrm_sender out;
	struct vmrm_receiver in;
	struct wire_end ends[WIRE_ENDS_MAX];
	uint32_t newest; /* the newest connection's number: they only grow, so that bytes for a closed one never open another */
	/* The record that is being received. */
	uint8_t header[WIRE_HEADER_BYTES];
	size_t header_have;
	uint32_t left;
	struct wire_end *target; /* NULL: its bytes are dropped */
	bool is_blocked; /* the target takes no more for now */
};

void wire_init(struct wire *wire);
/* Closes every socket; what the streams hold stays. */
void wire_close(struct wire *wire);
void wire_free(struct wire *wire);
/* Each makes the wire used. The fds are the wire's from then on and must not block. */
void wire_inherit(struct wire *wire, int fd);
void wire_listen(struct wire *wire, int listen_fd);
void wire_serve_from(struct wire *wire, const struct sockaddr_in *server);

/* What to poll for; always WIRE_FDS places, -1 where there is nothing. */
void wire_watch(const struct wire *wire, struct pollfd places[WIRE_FDS]);
/* Moves what poll said can move. */
void wire_turn(struct wire *wire, const struct pollfd places[WIRE_FDS]);
/* A DATA frame of the other side's stream. */
enum vmrm_accepted wire_take(struct wire *wire, const struct vmrm_frame *frame);
/* Whether bytes from the other side still wait to be written here. */
bool wire_is_waiting(const struct wire *wire);
/*
 * For the side whose sockets' other ends are going away: reads what is left and ends the stream when every connection has; with `is_late` it
 * ends now. True: the stream has ended, and the sockets are closed.
 */
bool wire_drain(struct wire *wire, bool is_late);
void wire_trim(struct wire *wire);

/* The parts of one side (wire_read.c and wire_write.c use them too). */
struct wire_end *wire_add(struct wire *wire, int fd, uint32_t number);
void wire_close_if_over(struct wire *wire, struct wire_end *end);
/* Reads a socket into the stream, as far as there is room. False: nothing is there now, or there is no room. */
bool wire_read(struct wire *wire, struct wire_end *end);
bool wire_has_room(const struct wire *wire);
/* Puts a record without bytes, 0 or WIRE_NEW for its length. False: there is no room. */
bool wire_say(struct wire *wire, uint32_t number, uint32_t length);
/* Writes what came to the sockets. */
void wire_write(struct wire *wire);

#endif
