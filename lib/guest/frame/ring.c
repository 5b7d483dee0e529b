/*
 * Owns the storage behind streams.
 * Must never lose or reorder a byte when it grows.
 */
#include "ring.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_BYTES 4096u

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Grows to hold `total` bytes (at most the window). Without memory it stays as it is. */
static void grow(struct vmrm_ring *ring, size_t total)
{
	uint32_t capacity = ring->capacity == 0 ? FIRST_BYTES : ring->capacity;
	while (capacity < total && capacity < VMRM_WINDOW_BYTES)
		capacity *= 2;
	if (capacity == ring->capacity)
		return;
	uint8_t *bytes = malloc(capacity);
	if (bytes == NULL)
		return;
	size_t first = least(ring->count, ring->capacity - ring->head);
	if (ring->count > 0) {
		memcpy(bytes, ring->bytes + ring->head, first);
		memcpy(bytes + first, ring->bytes, ring->count - first);
	}
	free(ring->bytes);
	ring->bytes = bytes;
	ring->capacity = capacity;
	ring->head = 0;
}

size_t vmrm_ring_space(struct vmrm_ring *ring, size_t want, uint8_t **at)
{
	want = least(want, VMRM_WINDOW_BYTES - ring->count);
	if (ring->capacity - ring->count < want)
		grow(ring, ring->count + want);
	if (ring->count == ring->capacity)
		return 0;
	if (ring->count == 0)
		ring->head = 0;
	uint32_t tail = (ring->head + ring->count) & (ring->capacity - 1);
	*at = ring->bytes + tail;
	return tail >= ring->head ? ring->capacity - tail : ring->head - tail;
}

void vmrm_ring_commit(struct vmrm_ring *ring, size_t count)
{
	ring->count += (uint32_t)least(count, ring->capacity - ring->count);
}

size_t vmrm_ring_append(struct vmrm_ring *ring, const uint8_t *bytes, size_t count)
{
	size_t taken = 0;
	while (taken < count) {
		uint8_t *at = NULL;
		size_t room = least(vmrm_ring_space(ring, count - taken, &at), count - taken);
		if (room == 0)
			break;
		memcpy(at, bytes + taken, room);
		vmrm_ring_commit(ring, room);
		taken += room;
	}
	return taken;
}

size_t vmrm_ring_peek(const struct vmrm_ring *ring, size_t skip, const uint8_t **at)
{
	if (skip >= ring->count)
		return 0;
	uint32_t from = (uint32_t)(ring->head + skip) & (ring->capacity - 1);
	*at = ring->bytes + from;
	return least(ring->count - skip, ring->capacity - from);
}

void vmrm_ring_drop(struct vmrm_ring *ring, size_t count)
{
	if (ring->count == 0)
		return;
	count = least(count, ring->count);
	ring->head = (uint32_t)(ring->head + count) & (ring->capacity - 1);
	ring->count -= (uint32_t)count;
}

void vmrm_ring_trim(struct vmrm_ring *ring)
{
	if (ring->count == 0)
		vmrm_ring_free(ring);
}

void vmrm_ring_free(struct vmrm_ring *ring)
{
	free(ring->bytes);
	*ring = (struct vmrm_ring){0};
}
