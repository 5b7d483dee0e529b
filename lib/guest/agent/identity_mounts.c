/*
 * Owns mounting what the identity lists, by mount(2) alone: a guest needs no mount helpers.
 * Must never wait without bound for a server, nor mount the same thing twice.
 */
#include "identity.h"

#include "clock.h"
#include "nfs_modules.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define RETRY_MS 100

bool make_folders(const char *path)
{
	char part[4096];
	size_t length = strlen(path);
	if (length >= sizeof part) {
		errno = ENAMETOOLONG;
		return false;
	}
	for (size_t i = 1; i <= length; i++) {
		if (path[i] != '/' && path[i] != '\0')
			continue;
		memcpy(part, path, i);
		part[i] = '\0';
		if (mkdir(part, 0755) != 0 && errno != EEXIST && errno != EROFS)
			return false;
	}
	struct stat there;
	return stat(path, &there) == 0;
}

bool mount_find(const char *target, char *source, size_t room)
{
	char line[4096];
	bool found = false;
	FILE *mounts = fopen("/proc/self/mountinfo", "re");
	while (mounts != NULL && fgets(line, sizeof line, mounts) != NULL) {
		char point[2048], this_source[1024];
		const char *rest = strstr(line, " - ");
		if (rest == NULL || sscanf(line, "%*s %*s %*s %*s %2047s", point) != 1 || strcmp(point, target) != 0)
			continue;
		/* The last line for a mount point is the one on top. */
		if (sscanf(rest, " - %*s %1023s", this_source) == 1) {
			snprintf(source, room, "%s", this_source);
			found = true;
		}
	}
	if (mounts != NULL)
		fclose(mounts);
	return found;
}

struct flag {
	const char *name;
	unsigned long set, clear;
};

static const struct flag flags[] = {
	{"ro", MS_RDONLY, 0}, {"rw", 0, MS_RDONLY}, {"nosuid", MS_NOSUID, 0}, {"suid", 0, MS_NOSUID}, {"nodev", MS_NODEV, 0},
	{"dev", 0, MS_NODEV}, {"noexec", MS_NOEXEC, 0}, {"exec", 0, MS_NOEXEC}, {"noatime", MS_NOATIME, 0}, {"relatime", MS_RELATIME, 0},
	{"nodiratime", MS_NODIRATIME, 0}, {"sync", MS_SYNCHRONOUS, 0}, {"bind", MS_BIND, 0}, {"rbind", MS_BIND | MS_REC, 0},
	/* For helpers and init scripts, not for the kernel. */
	{"defaults", 0, 0}, {"_netdev", 0, 0}, {"auto", 0, 0}, {"noauto", 0, 0}, {"nofail", 0, 0}, {"bg", 0, 0}, {"fg", 0, 0},
};

/* vmrmd's own word: the server asks for no more of the client than NFS 4.1 without Kerberos or pNFS. */
#define PLAIN "x-vmrm.plain"

/* Options for the kernel: known words become flags, the rest is its text. */
struct mount_options {
	unsigned long flags;
	bool is_plain;
	char data[2048];
};

static bool add_data(struct mount_options *options, const char *text, size_t length)
{
	size_t used = strlen(options->data);
	if (used + length + 2 > sizeof options->data)
		return false;
	if (used > 0)
		options->data[used++] = ',';
	memcpy(options->data + used, text, length);
	options->data[used + length] = '\0';
	return true;
}

static bool parse_options(const char *text, struct mount_options *options)
{
	*options = (struct mount_options){0};
	while (*text != '\0') {
		size_t length = strcspn(text, ",");
		bool is_plain = length == strlen(PLAIN) && memcmp(text, PLAIN, length) == 0;
		bool is_flag = length == 0 || is_plain || strncmp(text, "retry=", 6) == 0;
		options->is_plain = options->is_plain || is_plain;
		for (size_t i = 0; i < sizeof flags / sizeof *flags && !is_flag; i++) {
			if (strlen(flags[i].name) != length || memcmp(flags[i].name, text, length) != 0)
				continue;
			options->flags = (options->flags | flags[i].set) & ~flags[i].clear;
			is_flag = true;
		}
		if (!is_flag && !add_data(options, text, length))
			return false;
		text += length + (text[length] == ',');
	}
	return true;
}

static bool has_option(const struct mount_options *options, const char *name)
{
	size_t length = strlen(name);
	for (const char *at = options->data; *at != '\0'; at += strcspn(at, ",") + (at[strcspn(at, ",")] == ','))
		if (strncmp(at, name, length) == 0 && (at[length] == '=' || at[length] == ',' || at[length] == '\0'))
			return true;
	return false;
}

/* The address of a host that the identity names, since there is no resolver here. */
static const char *address_of(const struct identity *identity, const char *host, char out[64])
{
	for (size_t i = 0; i < identity->host_count; i++) {
		const char *line = identity->hosts[i];
		size_t address_length = strcspn(line, " ");
		for (const char *at = line + address_length; *at == ' '; at += strcspn(at, " ")) {
			at++;
			if (strcspn(at, " ") == strlen(host) && strncmp(at, host, strlen(host)) == 0 && address_length < 64) {
				memcpy(out, line, address_length);
				out[address_length] = '\0';
				return out;
			}
		}
	}
	return host;
}

/* The guest's own address on the way to `server`: NFSv4 wants it as clientaddr. */
static bool own_address(const char *server, char out[64])
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(2049)}, own;
	struct sockaddr_in6 to6 = {.sin6_family = AF_INET6, .sin6_port = htons(2049)}, own6;
	bool is6 = inet_pton(AF_INET6, server, &to6.sin6_addr) == 1;
	if (!is6 && inet_pton(AF_INET, server, &to.sin_addr) != 1)
		return false;
	int fd = socket(is6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	socklen_t size = is6 ? sizeof own6 : sizeof own;
	void *own_any = is6 ? (void *)&own6 : (void *)&own;
	const void *to_any = is6 ? (const void *)&to6 : (const void *)&to;
	bool done = fd >= 0 && connect(fd, to_any, size) == 0 && getsockname(fd, own_any, &size) == 0 &&
		inet_ntop(is6 ? AF_INET6 : AF_INET, is6 ? (const void *)&own6.sin6_addr : (const void *)&own.sin_addr, out, 64) != NULL;
	if (fd >= 0)
		close(fd);
	return done;
}

/* What mount.nfs would add: addr, clientaddr and the version. */
static bool add_nfs_options(const struct identity *identity, const struct identity_mount *mount, struct mount_options *options)
{
	char host[256], address[64], own[64], option[96];
	const char *colon = mount->source[0] == '[' ? strstr(mount->source, "]:") : strchr(mount->source, ':');
	const char *start = mount->source[0] == '[' ? mount->source + 1 : mount->source;
	if (colon == NULL || (size_t)(colon - start) >= sizeof host)
		return false;
	memcpy(host, start, (size_t)(colon - start));
	host[colon - start] = '\0';
	const char *server = address_of(identity, host, address);
	if (!has_option(options, "addr")) {
		snprintf(option, sizeof option, "addr=%.80s", server);
		if (!add_data(options, option, strlen(option)))
			return false;
	}
	bool is_old = has_option(options, "vers") || has_option(options, "nfsvers") || strcmp(mount->type, "nfs4") != 0;
	if (!is_old && !has_option(options, "minorversion") && !add_data(options, "vers=4.1", 8))
		return false;
	if (has_option(options, "clientaddr") || !own_address(server, own))
		return true;
	snprintf(option, sizeof option, "clientaddr=%s", own);
	return add_data(options, option, strlen(option));
}

/* Errors of a server or network that is still coming up, or of NFS modules that are still being loaded. */
static bool may_pass(int error, bool is_nfs)
{
	if (is_nfs && (error == ENODEV || error == EPROTONOSUPPORT))
		return true;
	return error == ECONNREFUSED || error == ETIMEDOUT || error == EHOSTUNREACH || error == ENETUNREACH || error == EHOSTDOWN ||
		error == ECONNRESET || error == EAGAIN || error == EINTR || error == EIO || error == ENOTCONN;
}

static bool mount_one(const struct identity *identity, const struct identity_mount *wanted, int64_t deadline, struct complaint *complaint)
{
	struct mount_options options;
	char there[1024];
	bool is_nfs = strncmp(wanted->type, "nfs", 3) == 0;
	if (mount_find(wanted->target, there, sizeof there) && strcmp(there, wanted->source) == 0)
		return true;
	if (!parse_options(wanted->options, &options))
		return complain(complaint, 0, "cannot mount %s on %s: its options are too long", wanted->source, wanted->target);
	if (!make_folders(wanted->target))
		return complain(complaint, errno, "cannot mount %s on %s: cannot make the folder", wanted->source, wanted->target);
	if (is_nfs && !add_nfs_options(identity, wanted, &options))
		return complain(complaint, 0, "cannot mount %s on %s: the source is no SERVER:/PATH", wanted->source, wanted->target);
	for (;;) {
		const char *type = (options.flags & MS_BIND) != 0 ? NULL : wanted->type;
		struct held_loading held = {0};
		/* A guest that still boots loads all it needs meanwhile; a clone is at rest. */
		if (options.is_plain && identity->is_clone && access("/sys/module/nfsv4", F_OK) == 0)
			module_loading_hold(&held);
		int error = mount(wanted->source, wanted->target, type, options.flags, options.data) == 0 ? 0 : errno;
		module_loading_release(&held);
		if (error == 0)
			return true;
		if (!may_pass(error, is_nfs) || now_ms() >= deadline)
			return complain(complaint, error, "cannot mount %s on %s (type %s, options %s)", wanted->source, wanted->target, wanted->type, options.data);
		pause_ms(RETRY_MS);
	}
}

static bool wants_nfs(const struct identity *identity)
{
	for (size_t i = 0; i < identity->mount_count; i++)
		if (strncmp(identity->mounts[i].type, "nfs", 3) == 0)
			return true;
	return false;
}

bool identity_apply_mounts(const struct identity *identity, struct complaint *complaint)
{
	int64_t deadline = now_ms() + IDENTITY_MOUNT_WAIT_MS;
	if (wants_nfs(identity))
		nfs_load_modules();
	for (size_t i = 0; i < identity->mount_count; i++)
		if (!mount_one(identity, &identity->mounts[i], deadline, complaint))
			return false;
	return true;
}
