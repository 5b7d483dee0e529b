/*
 * Owns finding the port's device by its name.
 */
#ifndef VMRM_AGENT_PORT_FIND_H
#define VMRM_AGENT_PORT_FIND_H

#include <stddef.h>
#include <stdbool.h>

/*
 * The device of a path such as /dev/virtio-ports/NAME: the path itself if it is there, else (a guest without udev) the one whose name
 * in sysfs is NAME. False: there is none yet.
 */
bool port_find(const char *path, char *device, size_t room);

#endif
