// The floor: a process that sends the kernel what an ADD of a bridge network without masquerade amounts to, and nothing else. No
// JSON, no leases, no agent. Run inside the host's network namespace, in which the bridge stands already.
//
//   cc -O2 -static -o floor bench/floor.c
//   floor add BRIDGE HOSTLINK CONTAINER-NETNS IFNAME ADDRESS PREFIXLEN GATEWAY
//   floor del HOSTLINK
//
// `del` waits for the kernel's acknowledgement, as any program does that knows no better.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static char message[4096];
static struct nlmsghdr *header = (struct nlmsghdr *)message;

static void die(const char *what) {
  fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
  exit(1);
}

static void begin(int type, int flags, const void *body, size_t size) {
  memset(message, 0, sizeof message);
  header->nlmsg_len = NLMSG_LENGTH(size);
  header->nlmsg_type = type;
  header->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags;
  memcpy(NLMSG_DATA(header), body, size);
}

static struct rtattr *put(int type, const void *data, size_t size) {
  struct rtattr *attribute = (struct rtattr *)(message + NLMSG_ALIGN(header->nlmsg_len));
  attribute->rta_type = type;
  attribute->rta_len = RTA_LENGTH(size);
  if (size > 0) memcpy(RTA_DATA(attribute), data, size);
  header->nlmsg_len = NLMSG_ALIGN(header->nlmsg_len) + RTA_ALIGN(attribute->rta_len);
  return attribute;
}

static void end(struct rtattr *nest) { nest->rta_len = message + header->nlmsg_len - (char *)nest; }

static void ask(int fd) {
  char answer[8192];
  if (send(fd, message, header->nlmsg_len, 0) < 0) die("send");
  if (recv(fd, answer, sizeof answer, 0) < 0) die("recv");
  const struct nlmsgerr *error = NLMSG_DATA((struct nlmsghdr *)answer);
  if (((struct nlmsghdr *)answer)->nlmsg_type == NLMSG_ERROR && error->error != 0) {
    errno = -error->error;
    die("refused");
  }
}

static int route_socket(void) {
  const int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  if (fd < 0) die("socket");
  return fd;
}

static void add(char **arg) {
  const char *bridge = arg[0], *host = arg[1], *netns = arg[2], *inside = arg[3];
  const unsigned char length = (unsigned char)atoi(arg[5]);
  struct in_addr address, gateway;
  if (inet_pton(AF_INET, arg[4], &address) != 1 || inet_pton(AF_INET, arg[6], &gateway) != 1) die("address");
  const int ns = open(netns, O_RDONLY | O_CLOEXEC);
  if (ns < 0) die(netns);
  const unsigned master = if_nametoindex(bridge);
  const int fd = route_socket();

  const struct ifinfomsg peer = {0};
  begin(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &peer, sizeof peer);
  put(IFLA_IFNAME, host, strlen(host) + 1);
  put(IFLA_MASTER, &master, sizeof master);
  struct rtattr *info = put(IFLA_LINKINFO, NULL, 0);
  put(IFLA_INFO_KIND, "veth", 4);
  struct rtattr *data = put(IFLA_INFO_DATA, NULL, 0);
  struct rtattr *other = put(VETH_INFO_PEER, &peer, sizeof peer);
  put(IFLA_IFNAME, inside, strlen(inside) + 1);
  put(IFLA_NET_NS_FD, &ns, sizeof ns);
  end(other);
  end(data);
  end(info);
  ask(fd);

  // A port of a bridge needs no address of its own.
  const unsigned char none = IN6_ADDR_GEN_MODE_NONE;
  begin(RTM_NEWLINK, 0, &peer, sizeof peer);
  put(IFLA_IFNAME, host, strlen(host) + 1);
  struct rtattr *families = put(IFLA_AF_SPEC, NULL, 0);
  struct rtattr *family = put(AF_INET6, NULL, 0);
  put(IFLA_INET6_ADDR_GEN_MODE, &none, sizeof none);
  end(family);
  end(families);
  ask(fd);
  struct ifinfomsg link = {.ifi_flags = IFF_UP, .ifi_change = IFF_UP};
  begin(RTM_NEWLINK, 0, &link, sizeof link);
  put(IFLA_IFNAME, host, strlen(host) + 1);
  ask(fd);

  if (setns(ns, CLONE_NEWNET) != 0) die("setns");
  const int within = route_socket();
  link.ifi_index = (int)if_nametoindex(inside);
  begin(RTM_NEWLINK, 0, &link, sizeof link);
  ask(within);
  const struct ifaddrmsg own = {AF_INET, length, 0, RT_SCOPE_UNIVERSE, (unsigned)link.ifi_index};
  begin(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &own, sizeof own);
  put(IFA_LOCAL, &address, sizeof address);
  put(IFA_ADDRESS, &address, sizeof address);
  ask(within);
  const struct rtmsg route = {.rtm_family = AF_INET, .rtm_table = RT_TABLE_MAIN, .rtm_protocol = RTPROT_STATIC,
                              .rtm_scope = RT_SCOPE_UNIVERSE, .rtm_type = RTN_UNICAST};
  begin(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_APPEND, &route, sizeof route);
  put(RTA_GATEWAY, &gateway, sizeof gateway);
  put(RTA_OIF, &link.ifi_index, sizeof link.ifi_index);
  ask(within);
}

static void del(char **arg) {
  const struct ifinfomsg link = {0};
  begin(RTM_DELLINK, 0, &link, sizeof link);
  put(IFLA_IFNAME, arg[0], strlen(arg[0]) + 1);
  ask(route_socket());
}

int main(int argc, char **argv) {
  if (argc == 9 && strcmp(argv[1], "add") == 0) return add(argv + 2), 0;
  if (argc == 3 && strcmp(argv[1], "del") == 0) return del(argv + 2), 0;
  fprintf(stderr, "usage: floor add BRIDGE HOSTLINK NETNS IFNAME ADDRESS PREFIXLEN GATEWAY | floor del HOSTLINK\n");
  return 2;
}
