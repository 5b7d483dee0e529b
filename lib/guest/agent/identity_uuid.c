/*
 * Owns what follows from the domain's uuid (machine-id, the uuid in /sys, the name as a client of NFS), and a clone's own boot id.
 * Must never leave a clone with an id of its template where programs take that for "the same machine".
 */
#include "identity.h"
#include "identity_uuid.h"
#include "log.h"
#include "overlaid_file.h"
#include "text_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define MACHINE_ID "/etc/machine-id"
#define MACHINE_ID_BYTES 32
#define DBUS_MACHINE_ID "/var/lib/dbus/machine-id"
#define BOOT_ID "/proc/sys/kernel/random/boot_id"
#define BOOT_ID_COPY "boot_id"
#define NFS_CLIENT "/sys/fs/nfs/net/nfs_client/identifier"

/* journald goes on below the id it started with, and journalctl looks below the new one. */
static void link_journal(const char *folder, const char *old, const char *new)
{
	char path[128];
	struct stat there;
	snprintf(path, sizeof path, "%s/%.32s", folder, old);
	if (strlen(old) < MACHINE_ID_BYTES || strchr(old, '/') != NULL || stat(path, &there) != 0)
		return;
	snprintf(path, sizeof path, "%s/%.32s", folder, new);
	if (symlink(old, path) != 0 && errno != EEXIST)
		agent_log("journalctl will not find the journal: %s\n", strerrordesc_np(errno));
}

static bool put_machine_id(const char *uuid, struct complaint *complaint)
{
	struct text old = {0}, new = {0};
	struct stat dbus;
	for (const char *c = uuid; *c != '\0'; c++)
		if (*c != '-')
			text_add(&new, c, 1);
	text_add(&new, "\n", 1);
	bool done = text_read(&old, MACHINE_ID) && !new.failed;
	if (done && strcmp(old.bytes, new.bytes) != 0) {
		/* Where the root is read only, systemd has mounted a file there. */
		done = text_replace(MACHINE_ID, &new, 0444) || overlaid_put(MACHINE_ID, "machine-id", new.bytes, new.length, 0444);
		old.bytes[strcspn(old.bytes, "\n")] = '\0';
		link_journal("/run/log/journal", old.bytes, new.bytes);
		link_journal("/var/log/journal", old.bytes, new.bytes);
	}
	if (done && lstat(DBUS_MACHINE_ID, &dbus) == 0 && S_ISREG(dbus.st_mode))
		done = text_replace(DBUS_MACHINE_ID, &new, 0444);
	int error = errno;
	text_free(&old);
	text_free(&new);
	return done || complain(complaint, error, "cannot write %s", MACHINE_ID);
}

/* By it NFS servers tell clients apart; else it is the host name and the time at which the module was loaded, maybe in the template. */
static void name_nfs_client(const char *uuid)
{
	int fd = open(NFS_CLIENT, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	write_all(fd, uuid, strlen(uuid));
	close(fd);
}

/* Libraries for messages between processes (UCX, NCCL) take two with one boot id for neighbours with common memory. */
static bool put_boot_id(struct complaint *complaint)
{
	uint8_t b[16];
	char text[UUID_TEXT_BYTES + 2];
	if (getrandom(b, sizeof b, 0) != (ssize_t)sizeof b)
		return complain(complaint, errno, "cannot make a boot id");
	b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
	b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
	snprintf(text, sizeof text, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x\n", b[0], b[1], b[2], b[3], b[4], b[5], b[6],
		b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
	return overlaid_put(BOOT_ID, BOOT_ID_COPY, text, strlen(text), 0444) || complain(complaint, errno, "cannot replace %s", BOOT_ID);
}

bool identity_apply_uuid(const struct identity *identity, struct complaint *complaint)
{
	if (identity->is_clone && !put_boot_id(complaint))
		return false;
	if (identity->uuid == NULL)
		return true;
	name_nfs_client(identity->uuid);
	return put_machine_id(identity->uuid, complaint) && dmi_put_uuid(identity->uuid, complaint);
}

void uuid_prepare(void)
{
	overlaid_prepare(BOOT_ID, BOOT_ID_COPY, 0444);
	dmi_prepare();
}
