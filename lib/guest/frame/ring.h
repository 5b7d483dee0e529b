/*
 * Owns a byte queue that grows by doubling up to the window of a stream, and costs nothing while it has never been used.
 * Must never hold more than VMRM_WINDOW_BYTES. (The one part of this folder that allocates.)
 */
#ifndef VMRM_RING_H
#define VMRM_RING_H

#include <stddef.h>
#include <stdint.h>

#define VMRM_WINDOW_BYTES 262144u

struct vmrm_ring {
	uint8_t *bytes;
	uint32_t capacity; /* 0 or a power of two */
	uint32_t head;
	uint32_t count;
};

/* Free bytes in one piece behind the last one; grows first if fewer than `want` are free in all. 0: full, or no memory. */
size_t vmrm_ring_space(struct vmrm_ring *ring, size_t want, uint8_t **at);
void vmrm_ring_commit(struct vmrm_ring *ring, size_t count);
/* Copies up to `count` bytes in. Returns how many it took. */
size_t vmrm_ring_append(struct vmrm_ring *ring, const uint8_t *bytes, size_t count);
/* The bytes from the `skip`th one on that lie in one piece. 0: there are none. */
size_t vmrm_ring_peek(const struct vmrm_ring *ring, size_t skip, const uint8_t **at);
void vmrm_ring_drop(struct vmrm_ring *ring, size_t count);
/* Gives the memory back if the ring is empty. */
void vmrm_ring_trim(struct vmrm_ring *ring);
void vmrm_ring_free(struct vmrm_ring *ring);

#endif
