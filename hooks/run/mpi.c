/*
 * Owns the reading of what Slurm's MPI plug-in gave a task. A user can forge the variables that say it, so it must never take a
 * descriptor that is no socket, nor an address that could be one of the host's services.
 */
#include "mpi.h"
#include "say.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define SERVER_PREFIX "PMIX_SERVER_URI"
#define TCP "tcp4://"
/* The numbers a guest takes; slurmstepd's own are from 10 on. */
#define NUMBER_FIRST 10
#define NUMBER_LAST 255

extern char **environ;

static bool is_type(const char *name)
{
	const char *type = getenv("SLURM_MPI_TYPE");
	size_t length = strlen(name);
	/* pmix and pmix_v4 are the same to us. */
	return type != NULL && strncmp(type, name, length) == 0 && (type[length] == '\0' || type[length] == '_');
}

int mpi_kept_fd(void)
{
	const char *text = getenv("PMI_FD");
	struct stat status;
	char *end = NULL;
	if (!is_type("pmi2") || text == NULL || *text < '0' || *text > '9')
		return -1;
	long fd = strtol(text, &end, 10);
	if (*end != '\0' || fd < 3 || fd > 65535 || fstat((int)fd, &status) != 0 || !S_ISSOCK(status.st_mode))
		return -1;
	return (int)fd;
}

/* slurmstepd says it once for each version of PMIx, always the same; one that differs is not its own. NULL: there is none, or they differ. */
static const char *server_of_environment(bool *is_disputed)
{
	const char *uri = NULL;
	*is_disputed = false;
	for (char **entry = environ; *entry != NULL; entry++) {
		const char *value = strchr(*entry, '=');
		if (strncmp(*entry, SERVER_PREFIX, sizeof SERVER_PREFIX - 1) != 0 || value == NULL)
			continue;
		*is_disputed = *is_disputed || (uri != NULL && strcmp(uri, value + 1) != 0);
		uri = value + 1;
	}
	return *is_disputed ? NULL : uri;
}

/* slurmstepd listens where the kernel pleases; the services of a host listen below that range. */
static bool is_passing_port(unsigned long port)
{
	FILE *file = fopen("/proc/sys/net/ipv4/ip_local_port_range", "re");
	unsigned long first = 32768;
	if (file != NULL) {
		if (fscanf(file, "%lu", &first) != 1)
			first = 32768;
		fclose(file);
	}
	return port >= first && port < 65536;
}

/* `pmix-server.147;tcp4://127.0.0.1:46885` */
static bool read_server(struct mpi *mpi, const char *uri)
{
	const char *at = strstr(uri, TCP);
	const char *port = at == NULL ? NULL : strrchr(at + sizeof TCP - 1, ':');
	char host[INET_ADDRSTRLEN];
	int length = port == NULL ? 0 : snprintf(host, sizeof host, "%.*s", (int)(port - at - (int)sizeof TCP + 1), at + sizeof TCP - 1);
	if (length <= 0 || (size_t)length >= sizeof host || inet_pton(AF_INET, host, &mpi->server.sin_addr) != 1)
		return false;
	unsigned long number = strtoul(port + 1, NULL, 10);
	mpi->server.sin_family = AF_INET;
	mpi->server.sin_port = htons((uint16_t)number);
	snprintf(mpi->address, sizeof mpi->address, "%s:%lu", host, number);
	return is_passing_port(number) && ntohl(mpi->server.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
}

static int read_pmix(struct mpi *mpi)
{
	bool is_disputed;
	const char *uri = server_of_environment(&is_disputed);
	const char *modes = getenv("PMIX_SECURITY_MODE");
	if (is_disputed) {
		say("the environment names more than one PMIx server (%s...): take out those that are not Slurm's", SERVER_PREFIX);
		return EXIT_REQUEST;
	}
	/* An interactive step has the type of its job and no server. */
	if (uri == NULL)
		return 0;
	if (!read_server(mpi, uri)) {
		say("--mpi=%s cannot be used in a VM here: slurmstepd's PMIx server is at %s, which is not a port of its own on the loopback; --mpi=pmi2 and --mpi=none work",
			getenv("SLURM_MPI_TYPE"), uri);
		return EXIT_REQUEST;
	}
	if (modes != NULL && strstr(modes, "native") == NULL) {
		say("--mpi=%s cannot be used in a VM here: slurmstepd's PMIx server asks for %s, which no VM has; --mpi=pmi2 and --mpi=none work",
			getenv("SLURM_MPI_TYPE"), modes);
		return EXIT_REQUEST;
	}
	mpi->kind = MPI_SERVER;
	return 0;
}

static void read_pmi2(struct mpi *mpi)
{
	mpi->fd = mpi_kept_fd();
	if (mpi->fd < 0)
		return;
	mpi->kind = MPI_INHERITED;
	mpi->number = mpi->fd < NUMBER_FIRST || mpi->fd > NUMBER_LAST ? NUMBER_FIRST : (unsigned)mpi->fd;
}

int mpi_read(struct mpi *mpi, const struct job *job)
{
	const char *type = getenv("SLURM_MPI_TYPE");
	const char *count = getenv("SLURM_SPANK_VMRM_PER_NODE");
	*mpi = (struct mpi){.fd = -1};
	/* A batch script and a command beside the steps have no connection of their own. */
	if (job->is_batch || job->has_vm || type == NULL || strcmp(type, "none") == 0)
		return 0;
	mpi->is_split = count != NULL && atoi(count) > 1;
	if (is_type("pmix"))
		return read_pmix(mpi);
	if (is_type("pmi2")) {
		read_pmi2(mpi);
		return 0;
	}
	if (strcmp(job->step, "interactive") == 0)
		return 0;
	say("--mpi=%s does not work in VMs; --mpi=pmi2, --mpi=pmix and --mpi=none do", type);
	return EXIT_REQUEST;
}

bool mpi_open_wire(const struct mpi *mpi, struct wire *wire)
{
	if (mpi->kind == MPI_SERVER)
		wire_serve_from(wire, &mpi->server);
	if (mpi->kind == MPI_INHERITED)
		wire_inherit(wire, mpi->fd);
	return mpi->kind != MPI_INHERITED || fcntl(mpi->fd, F_SETFD, FD_CLOEXEC) == 0;
}
