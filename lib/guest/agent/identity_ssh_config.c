/*
 * Owns vmrm's blocks in the configuration of ssh and sshd. They stand first, since both take the first value they find, and in
 * the files themselves, since OpenSSH before 8.2 reads no folder of more.
 * Must never change how anything but the job's own VMs is reached.
 */
#include "identity_ssh.h"
#include "marked_block.h"

#include <errno.h>
#include <glob.h>
#include <string.h>
#include <unistd.h>

#define CLIENT "/etc/ssh/ssh_config"
#define SERVER "/etc/ssh/sshd_config"
/* OpenSSH before 7.7 takes no longer line than 1023 bytes. */
#define LINE_MAX_BYTES 900

static bool put_block(const char *path, const struct text *lines, struct complaint *complaint)
{
	if (access(path, F_OK) != 0 || marked_block_put(path, "the job's keys", lines, BLOCK_FIRST))
		return true;
	return complain(complaint, errno, "cannot write %s", path);
}

/* What holds for the names of one Host line. No file of the user's is read or written, and nobody is asked anything. */
static void add_client_options(struct text *lines)
{
	text_addf(lines, "\n\tIdentityFile %s\n\tIdentitiesOnly yes\n\tGlobalKnownHostsFile %s\n\tUserKnownHostsFile /dev/null\n", SSH_USER_KEY, SSH_KNOWN);
	text_addf(lines, "\tStrictHostKeyChecking yes\n\tHostKeyAlgorithms ssh-ed25519-cert-v01@openssh.com\n\tCheckHostIP no\n");
	/* The other VM's sshd may still be starting: once a second. */
	text_addf(lines, "\tConnectionAttempts 120\n");
}

static bool configure_client(const struct identity *identity, struct complaint *complaint)
{
	struct text lines = {0};
	size_t line_bytes = 0;
	text_add(&lines, "", 0);
	for (size_t i = 0; i < identity->host_count; i++) {
		size_t length = strlen(identity->hosts[i]);
		if (line_bytes > 0 && line_bytes + length > LINE_MAX_BYTES) {
			add_client_options(&lines);
			line_bytes = 0;
		}
		text_addf(&lines, "%s %s", line_bytes == 0 ? "Host" : "", identity->hosts[i]);
		line_bytes += length + 1;
	}
	if (line_bytes > 0)
		add_client_options(&lines);
	/* What follows in the file is for all hosts again. */
	text_addf(&lines, "Match all\n");
	bool done = put_block(CLIENT, &lines, complaint);
	text_free(&lines);
	return done;
}

bool ssh_configure_server(struct complaint *complaint)
{
	struct text lines = {0};
	text_addf(&lines, "HostKey %s\nHostCertificate %s\n", SSH_HOST_KEY, SSH_HOST_CERTIFICATE);
	text_addf(&lines, "PubkeyAuthentication yes\nAuthorizedKeysFile %s/%%u .ssh/authorized_keys\n", SSH_AUTHORIZED_FOLDER);
	bool done = put_block(SERVER, &lines, complaint);
	text_free(&lines);
	return done;
}

/* Keys that came with the master are the same in every VM of every job: whoever has one could pass for any. */
static void remove_shared_keys(void)
{
	glob_t found;
	if (glob("/etc/ssh/ssh_host_*_key*", 0, NULL, &found) != 0)
		return;
	for (size_t i = 0; i < found.gl_pathc; i++)
		unlink(found.gl_pathv[i]);
	globfree(&found);
}

/* Until systemd has booted it keeps users out with a file, which it makes early in the boot; the job's tasks run already. */
static void open_for_users(void)
{
	if (access("/run/systemd/system", F_OK) != 0 || !make_folders("/run/tmpfiles.d"))
		return;
	/* No harm if it is there: it was put there before, or by the image, to the same end. */
	if (symlink("/dev/null", "/run/tmpfiles.d/systemd-nologin.conf") == 0 || errno == EEXIST)
		unlink("/run/nologin");
}

bool ssh_configure(const struct identity *identity, struct complaint *complaint)
{
	if (!ssh_configure_server(complaint) || !configure_client(identity, complaint))
		return false;
	remove_shared_keys();
	open_for_users();
	return true;
}
