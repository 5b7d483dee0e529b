/*
 * Owns the sending half of a stream: bytes are kept until they are acknowledged.
 * Must never send a byte at or above the peer's limit, nor give one up before its ACK.
 */
#include "messages.h"
#include "stream.h"

void vmrm_sender_init(struct vmrm_sender *sender)
{
	*sender = (struct vmrm_sender){.limit = VMRM_WINDOW_BYTES};
}

void vmrm_sender_free(struct vmrm_sender *sender)
{
	vmrm_ring_free(&sender->ring);
}

static uint64_t tail(const struct vmrm_sender *sender)
{
	return sender->acked + sender->ring.count;
}

size_t vmrm_sender_space(struct vmrm_sender *sender, size_t want, uint8_t **at)
{
	return sender->ended ? 0 : vmrm_ring_space(&sender->ring, want > 0 ? want : 1, at);
}

void vmrm_sender_commit(struct vmrm_sender *sender, size_t count)
{
	vmrm_ring_commit(&sender->ring, count);
}

size_t vmrm_sender_append(struct vmrm_sender *sender, const uint8_t *bytes, size_t count)
{
	return sender->ended ? 0 : vmrm_ring_append(&sender->ring, bytes, count);
}

void vmrm_sender_end(struct vmrm_sender *sender)
{
	sender->ended = true;
}

bool vmrm_sender_next(const struct vmrm_sender *sender, struct vmrm_frame *frame)
{
	if (sender->paused)
		return false;
	*frame = (struct vmrm_frame){.type = VMRM_DATA, .offset = sender->sent};
	uint64_t end = tail(sender);
	uint64_t allowed = sender->limit < end ? sender->limit : end;
	if (sender->sent < allowed) {
		size_t piece = vmrm_ring_peek(&sender->ring, sender->sent - sender->acked, &frame->payload);
		if (piece > allowed - sender->sent)
			piece = allowed - sender->sent;
		frame->length = (uint32_t)(piece < VMRM_PAYLOAD_MAX_BYTES ? piece : VMRM_PAYLOAD_MAX_BYTES);
	}
	if (sender->ended && sender->sent + frame->length == end)
		frame->flags = VMRM_FLAG_END;
	return frame->length > 0 || (frame->flags != 0 && !sender->end_sent);
}

void vmrm_sender_sent(struct vmrm_sender *sender, const struct vmrm_frame *frame)
{
	sender->sent = frame->offset + frame->length;
	if ((frame->flags & VMRM_FLAG_END) != 0)
		sender->end_sent = true;
}

/* Bytes below `offset` need not be kept. */
static void release(struct vmrm_sender *sender, uint64_t offset)
{
	vmrm_ring_drop(&sender->ring, offset - sender->acked);
	sender->acked = offset;
}

bool vmrm_sender_ack(struct vmrm_sender *sender, uint64_t offset, uint64_t limit)
{
	/* After a rewind an older ACK may name bytes that are still to be repeated: they did arrive. */
	if (offset > tail(sender))
		return false;
	if (offset > sender->acked)
		release(sender, offset);
	if (sender->sent < sender->acked)
		sender->sent = sender->acked;
	if (limit > sender->limit)
		sender->limit = limit;
	return true;
}

void vmrm_sender_pause(struct vmrm_sender *sender)
{
	sender->paused = true;
}

bool vmrm_sender_resume(struct vmrm_sender *sender, uint64_t received, uint64_t limit)
{
	if (received < sender->acked || received > tail(sender))
		return false;
	release(sender, received);
	sender->sent = received;
	sender->end_sent = false;
	sender->paused = false;
	if (limit > sender->limit)
		sender->limit = limit;
	return true;
}

bool vmrm_sender_is_done(const struct vmrm_sender *sender)
{
	return sender->ended && sender->end_sent && sender->ring.count == 0;
}

void vmrm_sender_trim(struct vmrm_sender *sender)
{
	vmrm_ring_trim(&sender->ring);
}
