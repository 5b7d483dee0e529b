/*
 * Owns a model of one stream over a bad link: a sender and a receiver with frames lost, doubled, cut and damaged between them,
 * and renewals at any moment. Promises: every byte once, in order, END at the end, and never more than the window kept.
 */
#include "messages.h"
#include "parser.h"
#include "stream.h"

#include "guest-fuzz.h"

#include <string.h>

#define STREAM_MAX_BYTES 600000
#define LINK_BYTES (1 << 20)

struct link {
	uint8_t bytes[LINK_BYTES];
	size_t count;
};

struct model {
	struct random *random;
	struct vmrm_sender sender;
	struct vmrm_receiver receiver;
	struct vmrm_parser to_receiver, to_sender;
	uint8_t receiver_buffer[2 * VMRM_FRAME_MAX_BYTES], sender_buffer[2 * VMRM_FRAME_MAX_BYTES];
	struct link forth, back;
	uint8_t *truth;
	size_t total, written, handed;
	size_t damage; /* one in so many frames is hurt; 0: none */
	bool is_over;
};

static void put(struct model *model, struct link *link, const struct vmrm_frame *frame)
{
	uint8_t bytes[VMRM_FRAME_MAX_BYTES];
	size_t count = vmrm_frame_encode(bytes, sizeof bytes, frame);
	PROMISE(count == VMRM_HEADER_BYTES + frame->length);
	bool is_hurt = model->damage > 0 && random_below(model->random, model->damage) == 0;
	size_t how = random_below(model->random, 4);
	if (is_hurt && how == 0)
		return;
	if (is_hurt && how == 1)
		count = random_below(model->random, count);
	if (is_hurt && how == 2 && count > 0)
		bytes[random_below(model->random, count)] ^= (uint8_t)(1 + random_below(model->random, 255));
	for (int copies = is_hurt && how == 3 ? 2 : 1; copies > 0 && link->count + count <= LINK_BYTES; copies--) {
		memcpy(link->bytes + link->count, bytes, count);
		link->count += count;
	}
}

/* Moves some bytes of a link into a parser. */
static void carry(struct model *model, struct link *link, struct vmrm_parser *parser)
{
	uint8_t *at = NULL;
	size_t room = vmrm_parser_space(parser, &at);
	PROMISE(room > 0);
	size_t count = random_below(model->random, link->count + 1);
	count = count < room ? count : room;
	memcpy(at, link->bytes, count);
	vmrm_parser_commit(parser, count);
	link->count -= count;
	memmove(link->bytes, link->bytes + count, link->count);
}

static void send_some(struct model *model)
{
	struct vmrm_frame frame;
	size_t left = model->total - model->written;
	size_t count = random_below(model->random, left + 1) % 70000;
	model->written += vmrm_sender_append(&model->sender, model->truth + model->written, count);
	/* Sometimes with the last bytes, sometimes later on its own. */
	if (model->written == model->total && random_below(model->random, 3) == 0)
		vmrm_sender_end(&model->sender);
	PROMISE(model->sender.ring.count <= VMRM_WINDOW_BYTES);
	for (size_t n = random_below(model->random, 6); n > 0 && vmrm_sender_next(&model->sender, &frame); n--) {
		PROMISE(frame.offset + frame.length <= model->sender.limit);
		put(model, &model->forth, &frame);
		vmrm_sender_sent(&model->sender, &frame);
	}
}

static void hand(struct model *model, const uint8_t *at, size_t available)
{
	size_t count = random_below(model->random, available + 1);
	PROMISE(model->handed + count <= model->total && memcmp(at, model->truth + model->handed, count) == 0);
	model->handed += count;
	vmrm_receiver_handed(&model->receiver, count);
}

static void receive_some(struct model *model)
{
	struct vmrm_frame frame;
	const uint8_t *at = NULL;
	size_t count;
	carry(model, &model->forth, &model->to_receiver);
	while (vmrm_parser_next(&model->to_receiver, &frame)) {
		PROMISE(frame.type == VMRM_DATA);
		if ((count = vmrm_receiver_fresh(&model->receiver, &frame, &at)) > 0)
			hand(model, at, count);
		PROMISE(vmrm_receiver_accept(&model->receiver, &frame) != VMRM_BEYOND);
		PROMISE(model->receiver.ring.count <= VMRM_WINDOW_BYTES);
	}
	if ((count = vmrm_receiver_peek(&model->receiver, &at)) > 0)
		hand(model, at, count);
	if (vmrm_receiver_is_ack_due(&model->receiver, random_below(model->random, 2) == 0)) {
		vmrm_receiver_ack(&model->receiver, &frame);
		PROMISE(frame.offset == model->handed);
		put(model, &model->back, &frame);
	}
	model->is_over = vmrm_receiver_is_done(&model->receiver);
}

static void hear_acks(struct model *model)
{
	struct vmrm_frame frame;
	carry(model, &model->back, &model->to_sender);
	while (vmrm_parser_next(&model->to_sender, &frame))
		PROMISE(vmrm_sender_ack(&model->sender, frame.offset, frame.limit));
}

/* Both links lose all; the greeting has made the ends agree that the channel is new. */
static void renew(struct model *model)
{
	struct vmrm_frame frame;
	vmrm_sender_pause(&model->sender);
	PROMISE(!vmrm_sender_next(&model->sender, &frame));
	model->forth.count = model->back.count = 0;
	vmrm_parser_reset(&model->to_receiver);
	vmrm_parser_reset(&model->to_sender);
	PROMISE(vmrm_sender_resume(&model->sender, vmrm_receiver_next(&model->receiver), vmrm_receiver_limit(&model->receiver)));
}

/* Numbers that cannot be are refused and change nothing. */
static void lie(struct model *model)
{
	struct vmrm_sender before = model->sender;
	uint64_t tail = model->sender.acked + model->sender.ring.count;
	PROMISE(!vmrm_sender_ack(&model->sender, tail + 1 + random_next(model->random) % 1000, UINT64_MAX));
	PROMISE(!vmrm_sender_resume(&model->sender, tail + 1, UINT64_MAX));
	PROMISE(model->sender.acked == 0 || !vmrm_sender_resume(&model->sender, model->sender.acked - 1, UINT64_MAX));
	PROMISE(memcmp(&before, &model->sender, sizeof before) == 0);
	uint8_t byte = 0;
	struct vmrm_frame beyond = {.type = VMRM_DATA, .length = 1, .payload = &byte, .offset = vmrm_receiver_limit(&model->receiver)};
	PROMISE(vmrm_receiver_accept(&model->receiver, &beyond) == VMRM_BEYOND);
	beyond.offset = UINT64_MAX;
	PROMISE(vmrm_receiver_accept(&model->receiver, &beyond) == VMRM_BEYOND);
}

static void play(struct model *model)
{
	unsigned long steps = 0;
	while (!model->is_over) {
		PROMISE(++steps < 200000);
		send_some(model);
		receive_some(model);
		hear_acks(model);
		if (model->damage > 0 && random_below(model->random, 40) == 0)
			renew(model);
		if (random_below(model->random, 100) == 0)
			lie(model);
	}
	PROMISE(model->handed == model->total);
}

int main(int argc, char **argv)
{
	static struct model model;
	static uint8_t truth[STREAM_MAX_BYTES];
	struct run run = run_start(argc, argv);
	struct random random;
	while (run_next(&run, &random)) {
		memset(&model, 0, sizeof model);
		model.random = &random;
		model.truth = truth;
		model.total = random_below(&random, 2) == 0 ? random_below(&random, 2000) : random_below(&random, STREAM_MAX_BYTES);
		model.damage = random_below(&random, 3) == 0 ? 0 : 2 + random_below(&random, 30);
		for (size_t i = 0; i < model.total; i++)
			truth[i] = (uint8_t)(random_below(&random, 50) == 0 ? 'V' : random_next(&random));
		vmrm_sender_init(&model.sender);
		vmrm_receiver_init(&model.receiver);
		vmrm_parser_init(&model.to_receiver, model.receiver_buffer, sizeof model.receiver_buffer);
		vmrm_parser_init(&model.to_sender, model.sender_buffer, sizeof model.sender_buffer);
		play(&model);
		vmrm_sender_free(&model.sender);
		vmrm_receiver_free(&model.receiver);
	}
	printf("%lu\n", run.rounds);
	return 0;
}
