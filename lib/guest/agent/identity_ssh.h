/*
 * Owns where the run's SSH keys are in a guest, and what ssh's and sshd's configuration say of them.
 * Must never name a file of a user's home.
 */
#ifndef VMRM_AGENT_IDENTITY_SSH_H
#define VMRM_AGENT_IDENTITY_SSH_H

#include "connect.h"
#include "identity.h"

/* Not /etc/ssh/ssh_host_*: cloud-init removes those at a VM's first boot. */
#define SSH_FOLDER IDENTITY_FOLDER "/ssh"
#define SSH_HOST_KEY SSH_FOLDER "/host_ed25519_key"
#define SSH_HOST_CERTIFICATE SSH_FOLDER "/host_ed25519_key-cert.pub"
#define SSH_USER_KEY SSH_FOLDER "/id_ed25519"
#define SSH_KNOWN SSH_FOLDER "/known_hosts"
/* Leads to the agent's own binary (connect.h). */
#define SSH_CONNECT IDENTITY_FOLDER "/" CONNECT_NAME
/* A file for each user, so that the key lets in nobody else, root least of all. */
#define SSH_AUTHORIZED_FOLDER SSH_FOLDER "/authorized_keys"

/* In a template: a server can start, with a key that no VM of a run has. Nothing is done where there is no ssh. */
void ssh_prepare(const char *host_key);
/* That the server uses the VM's keys. */
bool ssh_configure_server(struct complaint *complaint);
/* Puts the run's keys into the configuration of ssh and sshd, where there is one. */
bool ssh_configure(const struct identity *identity, struct complaint *complaint);
/* Makes an sshd that runs or starts read its configuration again; waits for it, with a bound. */
void ssh_server_renew(void);

#endif
