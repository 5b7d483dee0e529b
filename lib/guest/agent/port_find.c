/*
 * Owns finding the port's device by its name, with udev's link or without.
 * Must never take a port that has another name: it belongs to another program.
 */
#include "port_find.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PORTS "/sys/class/virtio-ports"

static bool has_name(const char *port, const char *wanted)
{
	char path[300], name[128] = "";
	snprintf(path, sizeof path, PORTS "/%.128s/name", port);
	FILE *file = fopen(path, "re");
	bool is_read = file != NULL && fgets(name, sizeof name, file) != NULL;
	if (file != NULL)
		fclose(file);
	name[strcspn(name, "\n")] = '\0';
	return is_read && strcmp(name, wanted) == 0;
}

bool port_find(const char *path, char *device, size_t room)
{
	const char *wanted = strrchr(path, '/') != NULL ? strrchr(path, '/') + 1 : path;
	bool found = access(path, F_OK) == 0;
	DIR *ports = NULL;
	struct dirent *entry;
	snprintf(device, room, "%s", path);
	if (!found)
		ports = opendir(PORTS);
	while (!found && ports != NULL && (entry = readdir(ports)) != NULL) {
		found = entry->d_name[0] != '.' && has_name(entry->d_name, wanted);
		if (found)
			snprintf(device, room, "/dev/%.128s", entry->d_name);
	}
	if (ports != NULL)
		closedir(ports);
	return found;
}
