/* Owns what MPI's variables become in a guest. Must never hide one that the user set for the MPI library itself. */
#include "messages.h"
#include "mpi.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_named(const char *entry, const char *name)
{
	size_t length = strlen(name);
	return strncmp(entry, name, length) == 0 && entry[length] == '=';
}

static const char *set(char *room, size_t size, const char *name, const char *value)
{
	int n = snprintf(room, size, "%s=%s", name, value);
	return n > 0 && (size_t)n < size ? room : NULL;
}

static const char *pmix_variable(const char *entry, char *room, size_t size)
{
	const char *temporary = getenv("TMPDIR");
	/* The other stores and munge are files and a daemon of the host. */
	if (is_named(entry, "PMIX_GDS_MODULE"))
		return set(room, size, "PMIX_GDS_MODULE", "hash");
	if (is_named(entry, "PMIX_SECURITY_MODE"))
		return set(room, size, "PMIX_SECURITY_MODE", "native");
	if (strncmp(entry, "PMIX_DSTORE_", 12) == 0)
		return NULL;
	if (is_named(entry, "PMIX_SERVER_TMPDIR"))
		return set(room, size, "PMIX_SERVER_TMPDIR", temporary != NULL ? temporary : "/tmp");
	return entry;
}

const char *mpi_variable(const struct mpi *mpi, const char *entry, char *room, size_t size)
{
	char number[16];
	if (mpi->kind == MPI_SERVER)
		return pmix_variable(entry, room, size);
	if (mpi->kind != MPI_INHERITED || !is_named(entry, "PMI_FD"))
		return entry;
	snprintf(number, sizeof number, "%u", mpi->number);
	return set(room, size, "PMI_FD", number);
}

/*
 * Ranks of one node believe that they share its memory; with several VMs a node some do not. Open MPI and MPICH are told to use the
 * network alone then.
 */
static bool put_split(struct spec_bytes *spec)
{
	static const char *const settings[] = {"OMPI_MCA_btl=self,tcp", "MPIR_CVAR_NOLOCAL=1"};
	for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
		char name[32];
		snprintf(name, sizeof name, "%.*s", (int)strcspn(settings[i], "="), settings[i]);
		if (getenv(name) == NULL && !spec_bytes_put_text(spec, VMRM_SPEC_ENV, settings[i]))
			return false;
	}
	return true;
}

bool mpi_put(const struct mpi *mpi, struct spec_bytes *spec)
{
	char value[80];
	int n = 0;
	if (mpi->kind == MPI_NONE)
		return true;
	if (mpi->kind == MPI_INHERITED)
		n = snprintf(value, sizeof value, "fd%c%u", '\0', mpi->number);
	else
		n = snprintf(value, sizeof value, "listen%cPMIX_SERVER_URI%c%s", '\0', '\0', mpi->address);
	return spec_bytes_put(spec, VMRM_SPEC_WIRE, value, (size_t)n) && (!mpi->is_split || put_split(spec));
}
