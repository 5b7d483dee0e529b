/*
 * Owns the receiving half of a stream: bytes are handed on once, in order, and acknowledged after that.
 * Must never buffer more than the window it granted, whatever the peer sends.
 */
#include "messages.h"
#include "stream.h"

void vmrm_receiver_init(struct vmrm_receiver *receiver)
{
	*receiver = (struct vmrm_receiver){0};
}

void vmrm_receiver_free(struct vmrm_receiver *receiver)
{
	vmrm_ring_free(&receiver->ring);
}

uint64_t vmrm_receiver_next(const struct vmrm_receiver *receiver)
{
	return receiver->handed + receiver->ring.count;
}

uint64_t vmrm_receiver_limit(const struct vmrm_receiver *receiver)
{
	return receiver->handed + VMRM_WINDOW_BYTES;
}

/* Whether the frame lies in the window and agrees with an END that was seen. */
static bool is_possible(const struct vmrm_receiver *receiver, const struct vmrm_frame *frame)
{
	uint64_t end = frame->offset + frame->length;
	bool is_end = (frame->flags & VMRM_FLAG_END) != 0;
	if (end < frame->offset || end > vmrm_receiver_limit(receiver))
		return false;
	if (receiver->ended)
		return is_end ? end == receiver->total : end <= receiver->total;
	return !is_end || end >= vmrm_receiver_next(receiver);
}

size_t vmrm_receiver_fresh(const struct vmrm_receiver *receiver, const struct vmrm_frame *frame, const uint8_t **at)
{
	uint64_t next = receiver->handed;
	if (receiver->ring.count > 0 || receiver->discards || !is_possible(receiver, frame))
		return 0;
	if (frame->offset > next || frame->offset + frame->length <= next)
		return 0;
	*at = frame->payload + (next - frame->offset);
	return (size_t)(frame->offset + frame->length - next);
}

enum vmrm_accepted vmrm_receiver_accept(struct vmrm_receiver *receiver, const struct vmrm_frame *frame)
{
	if (!is_possible(receiver, frame))
		return VMRM_BEYOND;
	uint64_t next = vmrm_receiver_next(receiver);
	uint64_t end = frame->offset + frame->length;
	if (frame->offset > next)
		return VMRM_GAP;
	bool is_new = end > next;
	if (is_new && receiver->discards) {
		receiver->handed = end;
	} else if (is_new) {
		size_t fresh = (size_t)(end - next);
		/* Without memory the rest counts as lost: the next frame finds a gap and the peer is asked again. */
		if (vmrm_ring_append(&receiver->ring, frame->payload + (next - frame->offset), fresh) < fresh)
			return VMRM_GAP;
	}
	if ((frame->flags & VMRM_FLAG_END) != 0 && !receiver->ended) {
		receiver->ended = true;
		receiver->total = end;
		receiver->ack_wanted = true;
		return VMRM_ACCEPTED;
	}
	if (!is_new)
		receiver->ack_wanted = true;
	return is_new ? VMRM_ACCEPTED : VMRM_DUPLICATE;
}

size_t vmrm_receiver_peek(const struct vmrm_receiver *receiver, const uint8_t **at)
{
	return vmrm_ring_peek(&receiver->ring, 0, at);
}

void vmrm_receiver_handed(struct vmrm_receiver *receiver, size_t count)
{
	vmrm_ring_drop(&receiver->ring, count);
	receiver->handed += count;
}

void vmrm_receiver_discard(struct vmrm_receiver *receiver)
{
	receiver->discards = true;
	receiver->handed += receiver->ring.count;
	vmrm_ring_free(&receiver->ring);
}

bool vmrm_receiver_is_ack_due(const struct vmrm_receiver *receiver, bool is_idle)
{
	uint64_t unsaid = receiver->handed - receiver->acked;
	return unsaid >= VMRM_ACK_EVERY_BYTES || (is_idle && (unsaid > 0 || receiver->ack_wanted));
}

void vmrm_receiver_ack(struct vmrm_receiver *receiver, struct vmrm_frame *frame)
{
	*frame = (struct vmrm_frame){.type = VMRM_ACK, .offset = receiver->handed, .limit = vmrm_receiver_limit(receiver)};
	receiver->acked = receiver->handed;
	receiver->ack_wanted = false;
}

bool vmrm_receiver_is_done(const struct vmrm_receiver *receiver)
{
	return receiver->ended && receiver->ring.count == 0 && receiver->handed == receiver->total;
}

void vmrm_receiver_trim(struct vmrm_receiver *receiver)
{
	vmrm_ring_trim(&receiver->ring);
}
