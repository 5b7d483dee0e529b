// What the network tests do inside a namespace: send and hear raw frames, try TCP, UDP and taps. One action a call.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netpacket/packet.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { max_frame = 2048 };

static size_t from_hex(const char *hex, unsigned char *frame) {
  size_t length = 0;
  unsigned int octet = 0;
  while (length < max_frame && sscanf(hex + 2 * length, "%2x", &octet) == 1) frame[length++] = (unsigned char)octet;
  return length;
}

static int open_packet(const char *device) {
  struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
  address.sll_ifindex = (int)if_nametoindex(device);
  int fd = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));
  if (fd < 0 || address.sll_ifindex == 0 || bind(fd, (struct sockaddr *)&address, sizeof address) != 0) return -1;
  return fd;
}

static int send_frames(const char *device, char **frames) {
  unsigned char frame[max_frame];
  int fd = open_packet(device);
  if (fd < 0) return 1;
  for (; *frames != NULL; frames++) {
    size_t length = from_hex(*frames, frame);
    if (write(fd, frame, length) != (ssize_t)length) return 1;
  }
  return 0;
}

static long now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static volatile sig_atomic_t is_ending;

static void end(int number) {
  (void)number;
  is_ending = 1;
}

// Says `ready`, prints every frame that comes in, ends when one holds the last word, or after SIGTERM when none is left.
static int listen_until(const char *device, const char *last_word, long timeout_ms) {
  unsigned char frame[max_frame];
  char hex[2 * max_frame + 1];
  long deadline = now_ms() + timeout_ms;
  int fd = open_packet(device);
  struct sigaction action = {.sa_handler = end};
  if (fd < 0 || sigaction(SIGTERM, &action, NULL) != 0) return 1;
  puts("ready");
  fflush(stdout);
  for (;;) {
    struct pollfd waiting = {.fd = fd, .events = POLLIN};
    struct sockaddr_ll from = {0};
    socklen_t from_length = sizeof from;
    long left = deadline - now_ms();
    if (left <= 0) return 3;
    if (poll(&waiting, 1, is_ending ? 0 : (int)left) <= 0) {
      if (is_ending && errno != EINTR) return 0;
      errno = 0;
      continue;
    }
    ssize_t length = recvfrom(fd, frame, sizeof frame, 0, (struct sockaddr *)&from, &from_length);
    if (length <= 0 || from.sll_pkttype == PACKET_OUTGOING) continue;
    for (ssize_t at = 0; at < length; at++) sprintf(hex + 2 * at, "%02x", frame[at]);
    puts(hex);
    fflush(stdout);
    if (strstr(hex, last_word) != NULL) return 0;
  }
}

static struct sockaddr_in to_address(const char *text, const char *port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(port))};
  inet_pton(AF_INET, text, &address.sin_addr);
  return address;
}

static int serve_once(const char *text, const char *port, long timeout_ms) {
  struct sockaddr_in address = to_address(text, port);
  int one = 1;
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, 1) != 0) return 1;
  puts("ready");
  fflush(stdout);
  struct pollfd waiting = {.fd = fd, .events = POLLIN};
  if (poll(&waiting, 1, (int)timeout_ms) <= 0) return 3;
  int client = accept(fd, NULL, NULL);
  static char large[300000]; // many segments of full size
  memset(large, 'x', sizeof large);
  for (size_t done = 0; done < sizeof large;) {
    ssize_t count = write(client, large + done, sizeof large - done);
    if (count <= 0) return 1;
    done += (size_t)count;
  }
  return 0;
}

// From a port of its own choice where one is given.
static int connect_once(const char *text, const char *port, long timeout_ms, const char *own_port) {
  struct sockaddr_in address = to_address(text, port);
  char bytes[65536];
  size_t total = 0;
  int one = 1;
  struct sockaddr_in own = to_address("0.0.0.0", own_port);
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(fd, (struct sockaddr *)&own, sizeof own) != 0) return 1;
  connect(fd, (struct sockaddr *)&address, sizeof address);
  for (;;) {
    struct pollfd waiting = {.fd = fd, .events = POLLIN};
    if (poll(&waiting, 1, (int)timeout_ms) <= 0) return puts("timeout"), 0;
    ssize_t count = read(fd, bytes, sizeof bytes);
    if (count < 0) return puts(strerror(errno)), 0;
    if (count == 0) return printf("%zu\n", total), 0;
    total += (size_t)count;
  }
}

// A dash stands for no source of one's own and for no device.
static int send_datagram(char **argv) {
  const char *source = argv[2], *device = argv[3];
  unsigned char payload[max_frame];
  size_t length = from_hex(argv[4], payload);
  struct sockaddr_in address = to_address(argv[0], argv[1]);
  struct sockaddr_in own = to_address(source, "0");
  int one = 1;
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &one, sizeof one);
  if (*source != '-' && bind(fd, (struct sockaddr *)&own, sizeof own) != 0) return 1;
  if (*device != '-' && setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device, strlen(device) + 1) != 0) return 1;
  ssize_t count = sendto(fd, payload, length, 0, (struct sockaddr *)&address, sizeof address);
  puts(count == (ssize_t)length ? "sent" : strerror(errno));
  return 0;
}

// Opens a tap as the given uid, as QEMU's would be, and writes frames as a guest's NIC does.
static int write_tap(const char *device, const char *uid, char **frames) {
  struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI}; // (neither bit is IFF_RUNNING)
  unsigned char frame[max_frame];
  int fd = open("/dev/net/tun", O_RDWR);
  strncpy(request.ifr_name, device, IFNAMSIZ - 1);
  if (fd < 0 || setuid((uid_t)atoi(uid)) != 0) return 1;
  if (ioctl(fd, TUNSETIFF, &request) != 0) return puts(strerror(errno)), 0;
  // The kernel tells the bridge of the new carrier within a second; what comes before is lost.
  int any = socket(AF_INET, SOCK_DGRAM, 0);
  for (int tries = 0; tries < 500 && !(request.ifr_flags & IFF_RUNNING); tries++) {
    usleep(10000);
    if (ioctl(any, SIOCGIFFLAGS, &request) != 0) return 1;
  }
  for (; *frames != NULL; frames++) {
    size_t length = from_hex(*frames, frame);
    if (write(fd, frame, length) != (ssize_t)length) return 1;
  }
  puts("written");
  return 0;
}

int main(int argc, char **argv) {
  const char *action = argc > 1 ? argv[1] : "";
  if (argc >= 4 && strcmp(action, "send") == 0) return send_frames(argv[2], argv + 3);
  if (argc == 5 && strcmp(action, "listen") == 0) return listen_until(argv[2], argv[3], atol(argv[4]));
  if (argc == 5 && strcmp(action, "serve") == 0) return serve_once(argv[2], argv[3], atol(argv[4]));
  if (argc == 6 && strcmp(action, "connect") == 0) return connect_once(argv[2], argv[3], atol(argv[4]), argv[5]);
  if (argc == 7 && strcmp(action, "udp") == 0) return send_datagram(argv + 2);
  if (argc >= 5 && strcmp(action, "tap") == 0) return write_tap(argv[2], argv[3], argv + 4);
  return 64;
}
