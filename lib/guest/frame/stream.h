/*
 * Owns both halves of one numbered stream: what may be sent, what must be kept, what was handed on and what to acknowledge.
 * Must never do I/O and never believe the other end: a number that cannot be is refused and changes nothing.
 *
 * Sending:    vmrm_sender_space + commit (or append) -> while (vmrm_sender_next) { write the frame; vmrm_sender_sent } ; ACK -> vmrm_sender_ack
 * Receiving:  DATA -> [vmrm_receiver_fresh, write it, vmrm_receiver_handed] -> vmrm_receiver_accept ; vmrm_receiver_peek, write, vmrm_receiver_handed ;
 *             vmrm_receiver_is_ack_due -> vmrm_receiver_ack gives the ACK frame
 * Renewal:    vmrm_sender_pause when the channel is known to be new, vmrm_sender_resume with what the peer's RESUME says.
 * A frame's `session` and `stream` are the caller's to set.
 */
#ifndef VMRM_STREAM_H
#define VMRM_STREAM_H

#include "frame.h"
#include "ring.h"

#include <stdbool.h>

/* A receiver acknowledges at the latest when so many bytes were handed on since the last ACK. */
#define VMRM_ACK_EVERY_BYTES 65536u

struct vmrm_sender {
	struct vmrm_ring ring; /* the bytes from acked on */
	uint64_t acked;        /* every byte below was received; it cannot be sent again */
	uint64_t sent;         /* next byte to send */
	uint64_t limit;        /* bytes below may be sent */
	bool ended;            /* no byte will be added */
	bool end_sent;
	bool paused;
};

struct vmrm_receiver {
	struct vmrm_ring ring; /* the bytes from handed on */
	uint64_t handed;       /* next byte to hand on (write to the fd) */
	uint64_t acked;        /* what the last ACK said */
	uint64_t total;        /* the stream's length, once ended */
	bool ended;            /* the frame with END was accepted */
	bool ack_wanted;       /* a duplicate or the END came: the sender should hear where we are */
	bool discards;         /* nobody reads any more: bytes count as handed on */
};

void vmrm_sender_init(struct vmrm_sender *sender);
void vmrm_sender_free(struct vmrm_sender *sender);
/* A place for up to the returned number of bytes, 0: the window is full (wait for an ACK) or the stream has ended. Say in `want` how much is waiting. */
size_t vmrm_sender_space(struct vmrm_sender *sender, size_t want, uint8_t **at);
void vmrm_sender_commit(struct vmrm_sender *sender, size_t count);
/* Copies bytes in; returns how many it took. */
size_t vmrm_sender_append(struct vmrm_sender *sender, const uint8_t *bytes, size_t count);
/* No more bytes: the last frame (maybe an empty one) carries END. */
void vmrm_sender_end(struct vmrm_sender *sender);
/* The next DATA frame that may be sent now (type, flags, offset, length, payload); false: nothing. Good until the next call with this sender. */
bool vmrm_sender_next(const struct vmrm_sender *sender, struct vmrm_frame *frame);
/* That frame is on its way. */
void vmrm_sender_sent(struct vmrm_sender *sender, const struct vmrm_frame *frame);
/* An ACK came. False: it names bytes that were never sent; nothing was changed. */
bool vmrm_sender_ack(struct vmrm_sender *sender, uint64_t offset, uint64_t limit);
/* No DATA until resume. */
void vmrm_sender_pause(struct vmrm_sender *sender);
/* Goes on from `received`; what came after it is sent again, END too. False: the number cannot be (bytes already given up, or never there). */
bool vmrm_sender_resume(struct vmrm_sender *sender, uint64_t received, uint64_t limit);
/* Everything and the END have been sent and every byte acknowledged. */
bool vmrm_sender_is_done(const struct vmrm_sender *sender);
/* Gives memory back if nothing is kept; call it when idle. */
void vmrm_sender_trim(struct vmrm_sender *sender);

enum vmrm_accepted {
	VMRM_ACCEPTED,  /* something new */
	VMRM_DUPLICATE, /* nothing new; an ACK is due */
	VMRM_GAP,       /* bytes in front of it are missing: they were lost; send RESUME (once) */
	VMRM_BEYOND     /* beyond the window or the end: the peer breaks the rules */
};

void vmrm_receiver_init(struct vmrm_receiver *receiver);
void vmrm_receiver_free(struct vmrm_receiver *receiver);
/* Bytes of a DATA frame that may be written on at once, without a copy: 0 if older ones are buffered or none is new. Then handed(), then accept(). */
size_t vmrm_receiver_fresh(const struct vmrm_receiver *receiver, const struct vmrm_frame *frame, const uint8_t **at);
/* A DATA frame: new bytes are buffered (those already handed on are dropped). */
enum vmrm_accepted vmrm_receiver_accept(struct vmrm_receiver *receiver, const struct vmrm_frame *frame);
/* Buffered bytes to hand on, in one piece; 0: none. */
size_t vmrm_receiver_peek(const struct vmrm_receiver *receiver, const uint8_t **at);
/* `count` bytes (of peek or of fresh) have been written. */
void vmrm_receiver_handed(struct vmrm_receiver *receiver, size_t count);
/* Nobody reads any more (EPIPE): what is buffered and what comes counts as handed on. */
void vmrm_receiver_discard(struct vmrm_receiver *receiver);
/* Whether to send an ACK; `is_idle`: there is nothing more to do just now. */
bool vmrm_receiver_is_ack_due(const struct vmrm_receiver *receiver, bool is_idle);
/* Fills in the ACK (type, offset, limit) and remembers that it was sent. */
void vmrm_receiver_ack(struct vmrm_receiver *receiver, struct vmrm_frame *frame);
/* Next byte expected, for RESUME's RECEIVED. */
uint64_t vmrm_receiver_next(const struct vmrm_receiver *receiver);
/* End of the window, for RESUME's LIMIT. */
uint64_t vmrm_receiver_limit(const struct vmrm_receiver *receiver);
/* The END came and every byte was handed on: close the fd. */
bool vmrm_receiver_is_done(const struct vmrm_receiver *receiver);
void vmrm_receiver_trim(struct vmrm_receiver *receiver);

#endif
