/*
 * Owns the run's SSH keys in the guest: files below /run, never in the user's home, which all jobs share.
 * Must never fail a VM for want of ssh: a guest without it keeps files that nothing reads.
 */
#include "identity.h"
#include "identity_ssh.h"
#include "log.h"
#include "text_file.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool put_file(const char *path, const char *content, mode_t mode, uid_t uid, gid_t gid, struct complaint *complaint)
{
	struct text text = {0};
	text_addf(&text, "%s%s", content, content[0] != '\0' && content[strlen(content) - 1] == '\n' ? "" : "\n");
	bool done = text_replace(path, &text, mode) && chown(path, uid, gid) == 0;
	int error = errno;
	text_free(&text);
	return done || complain(complaint, error, "cannot write %s", path);
}

/* A clone of a VM may have let another user in. */
static void forget_users(void)
{
	DIR *folder = opendir(SSH_AUTHORIZED_FOLDER);
	struct dirent *entry;
	if (folder == NULL)
		return;
	while ((entry = readdir(folder)) != NULL)
		unlinkat(dirfd(folder), entry->d_name, 0);
	closedir(folder);
}

static bool put_user_files(const struct identity *identity, struct complaint *complaint)
{
	const struct identity_user *user = &identity->user;
	const struct identity_ssh *ssh = &identity->ssh;
	char path[sizeof SSH_AUTHORIZED_FOLDER + 300];
	forget_users();
	if (user->name == NULL || ssh->user_key == NULL || ssh->authorized == NULL)
		return true;
	snprintf(path, sizeof path, "%s/%s", SSH_AUTHORIZED_FOLDER, user->name);
	return put_file(SSH_USER_KEY, ssh->user_key, 0600, user->uid, user->gid, complaint) && put_file(path, ssh->authorized, 0644, 0, 0, complaint);
}

static bool link_connect(struct complaint *complaint)
{
	char binary[PATH_MAX];
	ssize_t length = readlink("/proc/self/exe", binary, sizeof binary - 1);
	binary[length > 0 ? length : 0] = '\0';
	unlink(SSH_CONNECT);
	return (length > 0 && symlink(binary, SSH_CONNECT) == 0) || complain(complaint, errno, "cannot make the link %s", SSH_CONNECT);
}

bool identity_apply_ssh(const struct identity *identity, struct complaint *complaint)
{
	const struct identity_ssh *ssh = &identity->ssh;
	if (ssh->host_key == NULL || ssh->host_certificate == NULL || ssh->known == NULL)
		return true;
	if (!make_folders(SSH_AUTHORIZED_FOLDER))
		return complain(complaint, errno, "cannot make the folder %s", SSH_AUTHORIZED_FOLDER);
	if (!put_file(SSH_HOST_KEY, ssh->host_key, 0600, 0, 0, complaint) || !put_file(SSH_HOST_CERTIFICATE, ssh->host_certificate, 0644, 0, 0, complaint) ||
	    !put_file(SSH_KNOWN, ssh->known, 0644, 0, 0, complaint) || !put_user_files(identity, complaint))
		return false;
	if (!link_connect(complaint) || !ssh_configure(identity, complaint))
		return false;
	ssh_server_renew();
	return true;
}

void ssh_prepare(const char *host_key)
{
	struct complaint complaint = {0};
	if (!make_folders(SSH_AUTHORIZED_FOLDER) || !put_file(SSH_HOST_KEY, host_key, 0600, 0, 0, &complaint) || !ssh_configure_server(&complaint))
		agent_log("the ssh server does not start in the template: %s\n", complaint.text);
}
