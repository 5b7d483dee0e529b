/*
 * Owns the order: the device that has the MAC; else, if there are as many devices as the identity names, one whose MAC it does not name.
 * Must never give a device another MAC while it is up: its addresses on the link follow from it.
 */
#include "identity_nic.h"

#include "clock.h"

#include <errno.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* A driver may still be probing when the agent is already there. */
#define WAIT_MS 5000
#define DEVICES_MAX 64

struct device {
	char name[IFNAMSIZ];
	uint8_t mac[6];
	bool is_hardware;
};

static struct ifreq request_for(const char *name)
{
	struct ifreq request = {0};
	memcpy(request.ifr_name, name, strnlen(name, IFNAMSIZ - 1));
	return request;
}

/* Every Ethernet device, in the order in which the kernel found them. */
static size_t list_devices(int fd, struct device devices[DEVICES_MAX])
{
	size_t count = 0;
	struct if_nameindex *all = if_nameindex();
	for (struct if_nameindex *nic = all; nic != NULL && nic->if_index != 0 && count < DEVICES_MAX; nic++) {
		char path[64];
		struct device *device = &devices[count];
		struct ifreq request = request_for(nic->if_name);
		if (ioctl(fd, SIOCGIFHWADDR, &request) != 0 || request.ifr_hwaddr.sa_family != ARPHRD_ETHER)
			continue;
		memcpy(device->name, request.ifr_name, IFNAMSIZ);
		memcpy(device->mac, request.ifr_hwaddr.sa_data, 6);
		snprintf(path, sizeof path, "/sys/class/net/%.15s/device", device->name);
		device->is_hardware = access(path, F_OK) == 0;
		count++;
	}
	if (all != NULL)
		if_freenameindex(all);
	return count;
}

static bool is_named(const struct identity *identity, const uint8_t mac[6])
{
	for (size_t i = 0; i < identity->nic_count; i++)
		if (memcmp(identity->nics[i].mac, mac, 6) == 0)
			return true;
	return false;
}

static const struct device *find_by_mac(const struct device *devices, size_t count, const uint8_t mac[6])
{
	for (size_t i = 0; i < count; i++)
		if (memcmp(devices[i].mac, mac, 6) == 0)
			return &devices[i];
	return NULL;
}

static const struct device *find_free(const struct identity *identity, const struct device *devices, size_t count)
{
	const struct device *first = NULL;
	size_t hardware = 0;
	for (size_t i = 0; i < count; i++) {
		hardware += devices[i].is_hardware;
		if (first == NULL && devices[i].is_hardware && !is_named(identity, devices[i].mac))
			first = &devices[i];
	}
	return hardware == identity->nic_count ? first : NULL;
}

static bool give_mac(int fd, const char *name, const uint8_t mac[6])
{
	struct ifreq request = request_for(name);
	if (ioctl(fd, SIOCGIFFLAGS, &request) != 0)
		return false;
	request.ifr_flags &= ~IFF_UP;
	if (ioctl(fd, SIOCSIFFLAGS, &request) != 0)
		return false;
	request = request_for(name);
	request.ifr_hwaddr.sa_family = ARPHRD_ETHER;
	memcpy(request.ifr_hwaddr.sa_data, mac, 6);
	return ioctl(fd, SIOCSIFHWADDR, &request) == 0;
}

bool nic_take(int fd, const struct identity *identity, const struct identity_nic *nic, char name[IFNAMSIZ], struct complaint *complaint)
{
	int64_t deadline = now_ms() + WAIT_MS;
	const uint8_t *m = nic->mac;
	for (;;) {
		struct device devices[DEVICES_MAX];
		size_t count = list_devices(fd, devices);
		const struct device *device = find_by_mac(devices, count, nic->mac);
		const struct device *free_one = device == NULL ? find_free(identity, devices, count) : NULL;
		if (free_one != NULL && !give_mac(fd, free_one->name, nic->mac))
			return complain(complaint, errno, "cannot give %s the address %02x:%02x:%02x:%02x:%02x:%02x", free_one->name, m[0], m[1], m[2], m[3], m[4], m[5]);
		if (device == NULL)
			device = free_one;
		if (device != NULL) {
			memcpy(name, device->name, IFNAMSIZ);
			return true;
		}
		if (now_ms() >= deadline)
			return complain(complaint, 0, "no network device has the address %02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5]);
		pause_ms(20);
	}
}
