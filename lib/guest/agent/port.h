/*
 * Owns the way to the host: the virtio-serial port (or, for tests, a unix socket), what was read and what waits to be written.
 * Must never spin while the host's end is closed: such a port reads as ended and polls as ready for ever.
 */
#ifndef VMRM_AGENT_PORT_H
#define VMRM_AGENT_PORT_H

#include "parser.h"

#include <stdbool.h>
#include <stdint.h>

#define PORT_OUT_BYTES (4 * VMRM_FRAME_MAX_BYTES)

struct port {
	const char *path;
	int fd;              /* -1: not open */
	bool is_host_away;   /* open, but the other end is not connected */
	int64_t retry_at_ms; /* when to look again, while closed or away */
	int retry_wait_ms;
	int64_t heard_at_ms; /* for half frames that get no rest */
	struct vmrm_parser parser;
	uint8_t in[2 * VMRM_FRAME_MAX_BYTES];
	uint8_t out[PORT_OUT_BYTES];
	size_t out_start, out_end;
};

void port_init(struct port *port, const char *path);
/* Opens it or looks again whether the host is there, if it is time. */
void port_retry(struct port *port);
/* Whether to poll it now. */
bool port_is_usable(const struct port *port);
/* In how many milliseconds port_retry or port_rescue is wanted, or -1. */
int port_wait_ms(const struct port *port);
/* Reads what fits. False: nothing came. Then take frames from port->parser. */
bool port_read(struct port *port);
/* Where a frame may be put; NULL: too much waits to be written. */
uint8_t *port_out_space(struct port *port, size_t *room);
void port_out_commit(struct port *port, size_t count);
/* Writes what it can. True: all of it. */
bool port_write(struct port *port);

#endif
