/*
 * Owns what a VM is told about itself: the parsed IDENTITY, and its application.
 * Must never be applied in the agent's own process: a mount may block, so a child does it.
 */
#ifndef VMRM_AGENT_IDENTITY_H
#define VMRM_AGENT_IDENTITY_H

#include "child_work.h"
#include "frame.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Everything of a run that lies in the guest's files but is no configuration of others. */
#define IDENTITY_FOLDER "/run/vmrm"
#define IDENTITY_GROUPS_MAX 1024
#define IDENTITY_HOSTS_MAX 65536
#define IDENTITY_MOUNTS_MAX 64
#define IDENTITY_NICS_MAX 8
#define IDENTITY_COMMANDS_MAX 64
/* All mounts together may wait so long for servers that are still starting. */
#define IDENTITY_MOUNT_WAIT_MS 20000
/* After this the child is killed. */
#define IDENTITY_WAIT_MS 40000

struct identity_nic {
	uint8_t mac[6];
	const char *address;
	unsigned prefix;
	unsigned mtu; /* 0: leave it */
};

struct identity_group {
	const char *name; /* NULL: a number only */
	gid_t gid;
};

struct identity_mount {
	const char *type, *source, *target, *options;
};

struct identity_user {
	const char *name; /* NULL: no user was given */
	uid_t uid;
	gid_t gid;
	const char *home, *shell, *gecos;
};

/* In OpenSSH's own formats; NULL where not given. */
struct identity_ssh {
	const char *host_key, *host_certificate, *user_key, *authorized, *known;
};

/* All texts point into `texts`; each is a C string without control characters, but for the line ends of keys. */
struct identity {
	char *texts;
	bool is_clone;    /* the guest was a template: it has that one's boot id */
	const char *uuid; /* the domain's, in lower case; NULL: not given */
	const char *hostname, *gateway;
	struct identity_nic nics[IDENTITY_NICS_MAX];
	size_t nic_count;
	char **hosts; /* whole lines of /etc/hosts */
	size_t host_count, host_room;
	unsigned *slots; /* of each host the number of tasks; NULL: not given */
	size_t slot_count; /* 0 or host_count */
	struct identity_ssh ssh;
	struct identity_user user;
	struct identity_group groups[IDENTITY_GROUPS_MAX];
	size_t group_count;
	const char *commands[IDENTITY_COMMANDS_MAX]; /* absolute paths of Slurm's commands */
	size_t command_count;
	struct identity_mount mounts[IDENTITY_MOUNTS_MAX];
	size_t mount_count;
	uint64_t time_ns; /* 0: not given */
	const uint8_t *entropy;
	size_t entropy_bytes;
};

/* Parses the payload. NULL with a complaint if it makes no sense. Free with identity_free. */
struct identity *identity_parse(const uint8_t *bytes, size_t length, struct complaint *complaint);
void identity_free(struct identity *identity);

/* Does everything, in order; stops at the first failure. Blocks: for a child process only. `subject` is the identity. */
void identity_apply(const void *subject, struct work_answer *answer);

/* The steps; each may be repeated. */
bool identity_apply_clock(const struct identity *identity, struct complaint *complaint);
bool identity_apply_uuid(const struct identity *identity, struct complaint *complaint);
bool identity_apply_hostname(const struct identity *identity, struct complaint *complaint);
bool identity_apply_network(const struct identity *identity, struct complaint *complaint);
bool identity_apply_users(const struct identity *identity, struct complaint *complaint);
bool identity_apply_mounts(const struct identity *identity, struct complaint *complaint);
bool identity_apply_commands(const struct identity *identity, struct complaint *complaint);
bool identity_apply_home(const struct identity *identity, struct complaint *complaint);
bool identity_apply_hostfiles(const struct identity *identity, struct complaint *complaint);
bool identity_apply_ssh(const struct identity *identity, struct complaint *complaint);
/* The line of /proc/self/mountinfo with this mount point, for its source (out) and type. False: nothing is mounted there. */
bool mount_find(const char *target, char *source, size_t room);
/*
 * Sets the clock to the host's, if it is behind by more than half a second. Never back: what the host said may have been long
 * under way, and a guest whose CPUs wait for the host's loses time but gains none.
 */
void clock_catch_up(uint64_t host_ns);
/* Makes a folder and those above it, root's, 0755. */
bool make_folders(const char *path);

#endif
