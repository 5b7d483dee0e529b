/*
 * Owns the guest's addresses: those of the identity's NICs, the loopback, the default route.
 * Must never touch a NIC that the identity does not name.
 */
#include "identity.h"
#include "identity_nic.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/ipv6.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <net/route.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static struct ifreq request_for(const char *name)
{
	struct ifreq request = {0};
	memcpy(request.ifr_name, name, strnlen(name, IFNAMSIZ - 1));
	return request;
}

static bool set_up(int fd, const char *name)
{
	struct ifreq request = request_for(name);
	if (ioctl(fd, SIOCGIFFLAGS, &request) != 0)
		return false;
	request.ifr_flags |= IFF_UP | IFF_RUNNING;
	return ioctl(fd, SIOCSIFFLAGS, &request) == 0;
}

static void put_address(struct sockaddr *out, struct in_addr address)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = address};
	memcpy(out, &in, sizeof in);
}

static bool set_address4(int fd, const char *name, struct in_addr address, unsigned prefix)
{
	struct ifreq request = request_for(name);
	struct in_addr mask = {.s_addr = prefix == 0 ? 0 : htonl(~(uint32_t)0 << (32 - prefix))};
	put_address(&request.ifr_addr, address);
	if (ioctl(fd, SIOCSIFADDR, &request) != 0)
		return false;
	put_address(&request.ifr_netmask, mask);
	return ioctl(fd, SIOCSIFNETMASK, &request) == 0;
}

static bool set_address6(const char *name, const struct in6_addr *address, unsigned prefix)
{
	struct in6_ifreq request = {.ifr6_addr = *address, .ifr6_prefixlen = prefix, .ifr6_ifindex = (int)if_nametoindex(name)};
	int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool done = fd >= 0 && (ioctl(fd, SIOCSIFADDR, &request) == 0 || errno == EEXIST);
	int error = errno;
	if (fd >= 0)
		close(fd);
	errno = error;
	return done;
}

static bool set_nic(int fd, const struct identity *identity, const struct identity_nic *nic, struct complaint *complaint)
{
	char name[IFNAMSIZ];
	struct in_addr address4;
	struct in6_addr address6;
	if (!nic_take(fd, identity, nic, name, complaint))
		return false;
	struct ifreq mtu = request_for(name);
	mtu.ifr_mtu = (int)nic->mtu;
	if (nic->mtu != 0 && ioctl(fd, SIOCSIFMTU, &mtu) != 0)
		return complain(complaint, errno, "cannot set the MTU of %s to %u", name, nic->mtu);
	bool is4 = inet_pton(AF_INET, nic->address, &address4) == 1 && nic->prefix <= 32;
	bool is6 = !is4 && inet_pton(AF_INET6, nic->address, &address6) == 1;
	if (!is4 && !is6)
		return complain(complaint, 0, "%s/%u is no address", nic->address, nic->prefix);
	if (is4 ? !set_address4(fd, name, address4, nic->prefix) : !set_address6(name, &address6, nic->prefix))
		return complain(complaint, errno, "cannot give %s the address %s/%u", name, nic->address, nic->prefix);
	if (!set_up(fd, name))
		return complain(complaint, errno, "cannot bring %s up", name);
	return true;
}

/* One default route: an earlier one, maybe of the template's network, goes. */
static bool set_gateway(int fd, const char *text, struct complaint *complaint)
{
	struct in_addr gateway, none = {0};
	struct rtentry route = {.rt_flags = RTF_UP};
	if (inet_pton(AF_INET, text, &gateway) != 1)
		return complain(complaint, 0, "the gateway %s is no IPv4 address", text);
	put_address(&route.rt_dst, none);
	put_address(&route.rt_genmask, none);
	for (int i = 0; i < 16 && ioctl(fd, SIOCDELRT, &route) == 0; i++)
		;
	put_address(&route.rt_gateway, gateway);
	route.rt_flags |= RTF_GATEWAY;
	if (ioctl(fd, SIOCADDRT, &route) != 0 && errno != EEXIST)
		return complain(complaint, errno, "cannot route over the gateway %s", text);
	return true;
}

bool identity_apply_network(const struct identity *identity, struct complaint *complaint)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool done = fd >= 0;
	if (!done)
		complain(complaint, errno, "cannot open a socket");
	if (done && !set_up(fd, "lo"))
		done = complain(complaint, errno, "cannot bring lo up");
	for (size_t i = 0; done && i < identity->nic_count; i++)
		done = set_nic(fd, identity, &identity->nics[i], complaint);
	if (done && identity->gateway != NULL)
		done = set_gateway(fd, identity->gateway, complaint);
	if (fd >= 0)
		close(fd);
	return done;
}
