// Deleting a link without waiting for what comes after it is gone.
//
// The kernel takes a link out of its namespace, with its name, addresses and routes, and notifies (RTM_DELLINK), within a
// millisecond; then it waits for RCU grace periods before it acknowledges: 15 to 70 ms more
// (unregister_netdevice_many_notify, netdev_run_todo in net/core/dev.c). All of that happens inside sendto, so a thread of its own
// makes that call, and the notification counts as the answer.
#include "common.h"

#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <sys/socket.h>

#include <cstring>
#include <thread>

namespace weft {

namespace {

// Threads in sendto at once; beyond them deletions wait for their acknowledgement as everything else does.
constexpr int kMostAside = 64;

std::atomic<int> aside{0};

// Milliseconds: the same as any exchange waits (kTimeoutSeconds), and how often the sender is asked whether it failed.
constexpr int kPatience = 20000;
constexpr int kTurn = 100;

// The name that a message about a link carries; empty without.
std::string linkName(const uint8_t* message, size_t length) {
  size_t at = NLMSG_HDRLEN + NLMSG_ALIGN(sizeof(ifinfomsg));
  while (at + sizeof(rtattr) <= length) {
    rtattr attribute;
    memcpy(&attribute, message + at, sizeof attribute);
    if (attribute.rta_len < sizeof attribute || at + attribute.rta_len > length) break;
    if (attribute.rta_type == IFLA_IFNAME) {
      const char* text = reinterpret_cast<const char*>(message + at + sizeof attribute);
      return std::string(text, strnlen(text, attribute.rta_len - sizeof attribute));
    }
    at += RTA_ALIGN(attribute.rta_len);
  }
  return {};
}

bool readLink(const uint8_t* message, size_t length, ifinfomsg* link) {
  if (length < NLMSG_HDRLEN + sizeof *link) return false;
  memcpy(link, message + NLMSG_HDRLEN, sizeof *link);
  return true;
}

void setMembership(int fd, int option) {
  const int group = RTNLGRP_LINK;
  setsockopt(fd, SOL_NETLINK, option, &group, sizeof group);
}

}  // namespace

bool Deletion::read(const std::vector<uint8_t>& message) {
  nlmsghdr header;
  ifinfomsg link;
  if (message.size() < sizeof header) return false;
  memcpy(&header, message.data(), sizeof header);
  // AF_BRIDGE and others mean a part of a link by this message.
  if (header.nlmsg_type != RTM_DELLINK || !readLink(message.data(), message.size(), &link) ||
      link.ifi_family != AF_UNSPEC) {
    return false;
  }
  index_ = link.ifi_index;
  name_ = linkName(message.data(), message.size());
  return index_ > 0 || !name_.empty();
}

bool Deletion::isNotifiedBy(const uint8_t* message, size_t length) const {
  nlmsghdr header;
  ifinfomsg link;
  memcpy(&header, message, sizeof header);
  if (header.nlmsg_type != RTM_DELLINK || !readLink(message, length, &link) || link.ifi_family != AF_UNSPEC) {
    return false;
  }
  return index_ > 0 ? link.ifi_index == index_ : linkName(message, length) == name_;
}

bool Deletion::post(int fd, std::vector<uint8_t> message) {
  if (aside.fetch_add(1) >= kMostAside) {
    aside.fetch_sub(1);
    return false;
  }
  Fd own(fcntl(fd, F_DUPFD_CLOEXEC, 0));
  if (!own.valid()) {
    aside.fetch_sub(1);
    return false;
  }
  setMembership(fd, NETLINK_ADD_MEMBERSHIP);
  auto error = error_;
  try {
    // Neither the caller nor its namespace may be needed by the time this ends.
    std::thread([own = std::move(own), message = std::move(message), error] {
      sockaddr_nl kernel = {};
      kernel.nl_family = AF_NETLINK;
      ssize_t sent;
      do {
        sent = sendto(own.get(), message.data(), message.size(), MSG_NOSIGNAL, reinterpret_cast<sockaddr*>(&kernel),
                      sizeof kernel);
      } while (sent < 0 && errno == EINTR);
      if (sent < 0) error->store(errno);
      aside.fetch_sub(1);
    }).detach();
  } catch (const std::system_error&) {
    aside.fetch_sub(1);
    setMembership(fd, NETLINK_DROP_MEMBERSHIP);
    return false;
  }
  fd_ = fd;
  return true;
}

int Deletion::wait() const {
  for (int waited = 0; waited < kPatience; waited += kTurn) {
    pollfd answer = {fd_, POLLIN, 0};
    if (poll(&answer, 1, kTurn) > 0) return 0;
    // Without a message on its way there is nothing to wait for.
    if (const int error = error_->load()) return error;
  }
  return ETIMEDOUT;
}

void Deletion::end() {
  if (fd_ >= 0) setMembership(fd_, NETLINK_DROP_MEMBERSHIP);
  fd_ = -1;
}

}  // namespace weft
