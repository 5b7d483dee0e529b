/*
 * Owns the user's lines in /etc/passwd, /etc/shadow and /etc/group, and the home folder.
 * Must never touch root's lines, nor leave two lines with the user's name or number.
 */
#include "identity.h"
#include "text_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A line of one of the three files, split at colons in place. */
struct line {
	const char *start;
	size_t length; /* with its newline */
};

/* Whether the nth (from 0) field of the line is this text. */
static bool field_is(const struct line *line, int nth, const char *text)
{
	const char *at = line->start;
	const char *end = line->start + line->length;
	for (; nth > 0; nth--) {
		at = memchr(at, ':', (size_t)(end - at));
		if (at == NULL)
			return false;
		at++;
	}
	size_t length = strlen(text);
	return (size_t)(end - at) >= length && memcmp(at, text, length) == 0 && (at + length == end || at[length] == ':' || at[length] == '\n');
}

static bool next_line(const struct text *text, size_t *at, struct line *line)
{
	if (*at >= text->length)
		return false;
	line->start = text->bytes + *at;
	const char *newline = memchr(line->start, '\n', text->length - *at);
	line->length = newline != NULL ? (size_t)(newline + 1 - line->start) : text->length - *at;
	*at += line->length;
	return true;
}

static void add_line(struct text *text, const struct line *line)
{
	text_add(text, line->start, line->length);
	if (line->start[line->length - 1] != '\n')
		text_add(text, "\n", 1);
}

/* Rewrites the file: lines with the key (name, and number in field 2 if given) go, `wanted` (with its newline) is put at the end. */
static bool put_line(const char *path, mode_t mode, const char *name, const char *number, const char *wanted, struct complaint *complaint)
{
	struct text old = {0}, new = {0};
	struct line line;
	size_t at = 0;
	bool done = text_read(&old, path);
	while (done && next_line(&old, &at, &line))
		if (!field_is(&line, 0, name) && (number == NULL || !field_is(&line, 2, number)))
			add_line(&new, &line);
	text_add(&new, wanted, strlen(wanted));
	done = done && text_replace(path, &new, mode);
	if (!done)
		complain(complaint, errno, "cannot write %s", path);
	text_free(&old);
	text_free(&new);
	return done;
}

/* The group's members so far, if a line with this name and number is there; else "". */
static char *members_of(const char *name, const char *gid)
{
	struct text file = {0};
	struct line line;
	size_t at = 0;
	char *members = NULL;
	text_read(&file, "/etc/group");
	while (members == NULL && next_line(&file, &at, &line)) {
		if (!field_is(&line, 0, name) || !field_is(&line, 2, gid))
			continue;
		const char *last = memrchr(line.start, ':', line.length);
		members = strndup(last + 1, strcspn(last + 1, "\n"));
	}
	text_free(&file);
	return members != NULL ? members : strdup("");
}

static bool has_member(const char *members, const char *name)
{
	size_t length = strlen(name);
	for (const char *at = members; *at != '\0'; at += strcspn(at, ",") + (at[strcspn(at, ",")] == ',')) {
		if (strcspn(at, ",") == length && memcmp(at, name, length) == 0)
			return true;
	}
	return false;
}

static bool put_group(const struct identity_group *group, const struct identity_user *user, struct complaint *complaint)
{
	struct text gid = {0}, wanted = {0};
	text_addf(&gid, "%u", group->gid);
	char *members = gid.failed ? NULL : members_of(group->name, gid.bytes);
	bool done = members != NULL;
	if (done && (user->name == NULL || has_member(members, user->name)))
		text_addf(&wanted, "%s:x:%u:%s\n", group->name, group->gid, members);
	else if (done)
		text_addf(&wanted, "%s:x:%u:%s%s%s\n", group->name, group->gid, members, *members != '\0' ? "," : "", user->name);
	done = done && !wanted.failed && put_line("/etc/group", 0644, group->name, gid.bytes, wanted.bytes, complaint);
	free(members);
	text_free(&gid);
	text_free(&wanted);
	return done;
}

static bool put_user(const struct identity_user *user, struct complaint *complaint)
{
	struct text uid = {0}, passwd = {0}, shadow = {0};
	text_addf(&uid, "%u", user->uid);
	/* sshd refuses a user whose shell the image has not. */
	const char *shell = access(user->shell, X_OK) == 0 ? user->shell : "/bin/sh";
	text_addf(&passwd, "%s:x:%u:%u:%s:%s:%s\n", user->name, user->uid, user->gid, user->gecos, user->home, shell);
	/* No password fits `*`, but unlike `!` it is no locked account, which sshd would refuse. */
	text_addf(&shadow, "%s:*:19000:0:99999:7:::\n", user->name);
	bool done = !uid.failed && !passwd.failed && !shadow.failed &&
		put_line("/etc/passwd", 0644, user->name, uid.bytes, passwd.bytes, complaint) &&
		put_line("/etc/shadow", 0640, user->name, NULL, shadow.bytes, complaint);
	text_free(&uid);
	text_free(&passwd);
	text_free(&shadow);
	return done;
}

bool identity_apply_users(const struct identity *identity, struct complaint *complaint)
{
	const struct identity_user *user = &identity->user;
	for (size_t i = 0; i < identity->group_count; i++) {
		const struct identity_group *group = &identity->groups[i];
		if (group->name != NULL && group->gid != 0 && strcmp(group->name, "root") != 0 && !put_group(group, user, complaint))
			return false;
	}
	return user->name == NULL || user->uid == 0 || put_user(user, complaint);
}

/* Whether a mount of the identity provides this path. */
static bool is_on_mount(const struct identity *identity, const char *path)
{
	for (size_t i = 0; i < identity->mount_count; i++) {
		const char *target = identity->mounts[i].target;
		size_t length = strlen(target);
		while (length > 1 && target[length - 1] == '/')
			length--;
		if (strncmp(path, target, length) == 0 && (length == 1 || path[length] == '/' || path[length] == '\0'))
			return true;
	}
	return false;
}

bool identity_apply_home(const struct identity *identity, struct complaint *complaint)
{
	const struct identity_user *user = &identity->user;
	struct stat there;
	if (user->name == NULL || is_on_mount(identity, user->home))
		return true;
	bool is_there = stat(user->home, &there) == 0;
	/* Another user's of the same name, in the master, has given way. A folder of root's is no home to take. */
	if (is_there && (there.st_uid == user->uid || there.st_uid == 0))
		return true;
	if ((!is_there && !make_folders(user->home)) || chown(user->home, user->uid, user->gid) != 0 || chmod(user->home, 0700) != 0)
		return complain(complaint, errno, "cannot make the home folder %s", user->home);
	return true;
}
