/* Owns which variables of a guest must not act on a program of the host. */
#include "variables.h"

#include <stddef.h>
#include <string.h>

/*
 * ld.so(8), environ(7), mallopt(3), resolver(3), iconv(1); LUA_* for a cli_filter of the site, OPENSSL_* for plug-ins that use it;
 * BUN_*, NODE_*, JSC_* and the like for sbcast, whose place vmrm takes: BUN_BE_BUN alone would make it run any file.
 */
static const char *const prefixes[] = {"LD_", "MALLOC_", "LUA_", "OPENSSL_", "BUN_", "NODE_", "JSC_", "MIMALLOC_", "UV_"};
static const char *const names[] = {"GCONV_PATH", "GETCONF_DIR", "GLIBC_TUNABLES", "HOSTALIASES", "LOCALDOMAIN", "LOCPATH", "NIS_PATH", "NLSPATH", "PATH",
	"RESOLV_HOST_CONF", "RES_OPTIONS", "TZDIR",
	/* Files that srun itself would open on the host: what it means by them here is done here (plan_srun.c), or not at all. */
	"SLURM_STDINMODE", "SLURM_STDOUTMODE", "SLURM_STDERRMODE", "SRUN_INPUT", "SRUN_OUTPUT", "SRUN_ERROR", "SLURM_HOSTFILE", "SLURM_BCAST",
	/* Programs that srun itself would run. */
	"SLURM_PROLOG", "SLURM_EPILOG"};

bool variable_is_guest_only(const char *entry)
{
	size_t length = strcspn(entry, "=");
	for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
		if (strncmp(entry, prefixes[i], strlen(prefixes[i])) == 0)
			return true;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (strlen(names[i]) == length && strncmp(entry, names[i], length) == 0)
			return true;
	return false;
}

bool variable_is_same(const char *entry, const char *other)
{
	size_t length = strcspn(entry, "=");
	return length == strcspn(other, "=") && strncmp(entry, other, length) == 0;
}
