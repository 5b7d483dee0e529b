/*
 * Owns turning the payload of IDENTITY into checked values.
 * Must never let through a text that could add a line or a field to a file of the guest.
 */
#include "identity_fields.h"
#include "identity_peers.h"
#include "messages.h"
#include "tlv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool take_nic(struct identity *identity, struct fields *fields)
{
	struct identity_nic *nic = &identity->nics[identity->nic_count];
	unsigned mac[6];
	unsigned long prefix, mtu = 0;
	char *slash = fields->count >= 2 ? strchr(fields->at[1], '/') : NULL;
	if (identity->nic_count == IDENTITY_NICS_MAX || slash == NULL)
		return false;
	if (sscanf(fields->at[0], "%2x:%2x:%2x:%2x:%2x:%2x", &mac[0], &mac[1], &mac[2], &mac[3], &mac[4], &mac[5]) != 6)
		return false;
	if (!field_number(slash + 1, 128, &prefix))
		return false;
	if (fields->count > 2 && fields->at[2][0] != '\0' && !field_number(fields->at[2], 65536, &mtu))
		return false;
	*slash = '\0';
	for (int i = 0; i < 6; i++)
		nic->mac[i] = (uint8_t)mac[i];
	nic->address = fields->at[1];
	nic->prefix = (unsigned)prefix;
	nic->mtu = (unsigned)mtu;
	identity->nic_count++;
	return true;
}

static bool is_free_of_colons(const char *text)
{
	return strchr(text, ':') == NULL;
}

static bool take_user(struct identity *identity, const struct fields *fields)
{
	unsigned long uid, gid;
	if (fields->count < 5 || !field_is_account(fields->at[0]) || !field_number(fields->at[1], UINT32_MAX - 1, &uid) || !field_number(fields->at[2], UINT32_MAX - 1, &gid))
		return false;
	const char *gecos = fields->count > 5 ? fields->at[5] : "";
	if (fields->at[3][0] != '/' || !is_free_of_colons(fields->at[3]) || !is_free_of_colons(fields->at[4]) || !is_free_of_colons(gecos))
		return false;
	/* Root stays root, and nobody else becomes it by a second name. */
	if ((uid == 0) != (strcmp(fields->at[0], "root") == 0))
		return false;
	identity->user = (struct identity_user){fields->at[0], (uid_t)uid, (gid_t)gid, fields->at[3], fields->at[4], gecos};
	return true;
}

static bool take_group(struct identity *identity, const struct fields *fields)
{
	unsigned long gid;
	if (identity->group_count == IDENTITY_GROUPS_MAX || fields->count < 2 || !field_number(fields->at[1], UINT32_MAX - 1, &gid))
		return false;
	if (fields->at[0][0] != '\0' && !field_is_account(fields->at[0]))
		return false;
	identity->groups[identity->group_count++] = (struct identity_group){fields->at[0][0] != '\0' ? fields->at[0] : NULL, (gid_t)gid};
	return true;
}

static bool take_mount(struct identity *identity, const struct fields *fields)
{
	if (identity->mount_count == IDENTITY_MOUNTS_MAX || fields->count < 3 || fields->at[2][0] != '/')
		return false;
	for (const char *part = strstr(fields->at[2], "/.."); part != NULL; part = strstr(part + 1, "/.."))
		if (part[3] == '/' || part[3] == '\0')
			return false;
	identity->mounts[identity->mount_count++] =
		(struct identity_mount){fields->at[0], fields->at[1], fields->at[2], fields->count > 3 ? fields->at[3] : ""};
	return true;
}

static const char **key_of(struct identity_ssh *ssh, uint16_t tag)
{
	switch (tag) {
	case VMRM_IDENTITY_SSH_HOST_KEY:
		return &ssh->host_key;
	case VMRM_IDENTITY_SSH_HOST_CERTIFICATE:
		return &ssh->host_certificate;
	case VMRM_IDENTITY_SSH_USER_KEY:
		return &ssh->user_key;
	case VMRM_IDENTITY_SSH_AUTHORIZED:
		return &ssh->authorized;
	case VMRM_IDENTITY_SSH_KNOWN:
		return &ssh->known;
	default:
		return NULL;
	}
}

/* A key or a line of one: printable ASCII and line ends. */
static bool take_key(const char **key, char **texts, const struct vmrm_tlv *value)
{
	for (uint32_t i = 0; i < value->length; i++)
		if (value->value[i] != '\n' && (value->value[i] < 0x20 || value->value[i] >= 0x7f))
			return false;
	memcpy(*texts, value->value, value->length);
	(*texts)[value->length] = '\0';
	*key = *texts;
	*texts += value->length + 1;
	return true;
}

/* A path of a command such as /usr/bin/srun. Its last part must not be the agent's own: the binary tells by it what it is. */
static bool take_command(struct identity *identity, const char *path)
{
	const char *name = strrchr(path, '/');
	if (identity->command_count == IDENTITY_COMMANDS_MAX || path[0] != '/' || strlen(path) > 255 || strstr(path, "/..") != NULL)
		return false;
	if (!field_is_name(name + 1) || strncmp(name + 1, "vmrm", 4) == 0)
		return false;
	identity->commands[identity->command_count++] = path;
	return true;
}

static bool take_entropy(struct identity *identity, char **texts, const struct vmrm_tlv *value)
{
	memcpy(*texts, value->value, value->length);
	identity->entropy = (const uint8_t *)*texts;
	identity->entropy_bytes = value->length;
	*texts += value->length;
	return true;
}

static bool take(struct identity *identity, char **texts, const struct vmrm_tlv *value)
{
	struct fields fields;
	if (value->tag == VMRM_IDENTITY_TIME)
		return vmrm_tlv_u64(value, &identity->time_ns);
	if (value->tag == VMRM_IDENTITY_ENTROPY)
		return take_entropy(identity, texts, value);
	const char **key = key_of(&identity->ssh, value->tag);
	if (key != NULL)
		return take_key(key, texts, value);
	if (!field_split(texts, value, &fields))
		return false;
	switch (value->tag) {
	case VMRM_IDENTITY_HOSTNAME:
		identity->hostname = fields.at[0];
		return field_is_name(fields.at[0]) && strlen(fields.at[0]) <= 64;
	case VMRM_IDENTITY_UUID:
		identity->uuid = fields.at[0];
		return field_is_uuid(fields.at[0]);
	case VMRM_IDENTITY_GATEWAY:
		identity->gateway = fields.at[0][0] != '\0' ? fields.at[0] : NULL;
		return true;
	case VMRM_IDENTITY_NIC:
		return take_nic(identity, &fields);
	case VMRM_IDENTITY_HOSTS:
		return identity_take_hosts(identity, &fields);
	case VMRM_IDENTITY_USER:
		return take_user(identity, &fields);
	case VMRM_IDENTITY_GROUP:
		return take_group(identity, &fields);
	case VMRM_IDENTITY_SLOTS:
		return identity_take_slots(identity, fields.at[0]);
	case VMRM_IDENTITY_COMMAND:
		return take_command(identity, fields.at[0]);
	case VMRM_IDENTITY_MOUNT:
		return take_mount(identity, &fields);
	default:
		return true;
	}
}

struct identity *identity_parse(const uint8_t *bytes, size_t length, struct complaint *complaint)
{
	struct identity *identity = calloc(1, sizeof *identity);
	/* Each value needs its bytes and one more; its header had 8. */
	char *texts = malloc(length + 1);
	char *next = texts;
	struct vmrm_tlv_reader reader;
	struct vmrm_tlv value;
	enum vmrm_tlv_found found;
	if (identity == NULL || texts == NULL) {
		complain(complaint, 0, "no memory for the identity");
		goto failed;
	}
	identity->texts = texts;
	vmrm_tlv_read_from(&reader, bytes, length);
	while ((found = vmrm_tlv_next(&reader, &value)) == VMRM_TLV_FIELD) {
		if (!take(identity, &next, &value)) {
			complain(complaint, 0, "the identity's field %u makes no sense", value.tag);
			goto failed;
		}
	}
	if (found != VMRM_TLV_LIST_ENDS)
		complain(complaint, 0, "the identity is no list of fields");
	else if (identity->slot_count != 0 && identity->slot_count != identity->host_count)
		complain(complaint, 0, "the identity has %zu hosts and the tasks of %zu", identity->host_count, identity->slot_count);
	else
		return identity;
failed:
	if (identity == NULL || identity->texts == NULL)
		free(texts);
	identity_free(identity);
	return NULL;
}

void identity_free(struct identity *identity)
{
	if (identity == NULL)
		return;
	for (size_t i = 0; i < identity->host_count; i++)
		free(identity->hosts[i]);
	free(identity->hosts);
	free(identity->slots);
	free(identity->texts);
	free(identity);
}
