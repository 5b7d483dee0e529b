/* Owns which variables of a guest must not act on a program of the host. */
#include "variables.h"

#include <stddef.h>
#include <string.h>

/* ld.so(8), environ(7), mallopt(3), resolver(3), iconv(1); LUA_* for a cli_filter of the site, OPENSSL_* for plug-ins that use it. */
static const char *const prefixes[] = {"LD_", "MALLOC_", "LUA_", "OPENSSL_"};
static const char *const names[] = {"GCONV_PATH", "GETCONF_DIR", "GLIBC_TUNABLES", "HOSTALIASES", "LOCALDOMAIN", "LOCPATH", "NIS_PATH", "NLSPATH", "PATH",
	"RESOLV_HOST_CONF", "RES_OPTIONS", "TZDIR"};

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
