// Notifications: a netlink socket that has joined groups, watched by the event loop.
#include "watched.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <sys/socket.h>

#include <cstddef>

namespace weft {

namespace {

constexpr int kReceiveBuffer = 4 << 20;

// At most this many datagrams in one turn, so that a flood leaves time for the rest of the program.
constexpr int kPerTurn = 64;

// Of one datagram: nf_tables puts several messages into one, of 8 KiB at most (nft_commit_notify), unless one is longer than that.
constexpr size_t kLongest = 64 * 1024;

class Monitor : public Watched {
 public:
  // Takes what is there, in one call of the listener's.
  bool drain() override {
    std::vector<uint8_t>& taken = buffer;
    taken.clear();
    int problem = 0;
    for (int count = 0; count < kPerTurn && problem == 0; count++) {
      const size_t before = taken.size();
      taken.resize(before + kLongest);
      sockaddr_nl from = {};
      socklen_t length = sizeof from;
      const ssize_t size = recvfrom(fd.get(), taken.data() + before, kLongest, MSG_DONTWAIT | MSG_TRUNC,
                                    reinterpret_cast<sockaddr*>(&from), &length);
      // What is too long is lost, as in an overrun.
      if (size < 0) problem = errno;
      else if (size > static_cast<ssize_t>(kLongest)) problem = ENOBUFS;
      const bool isWhole = problem == 0 && from.nl_pid == 0;
      taken.resize(before + (isWhole ? NLMSG_ALIGN(static_cast<size_t>(size)) : 0));
      if (problem == EINTR) problem = 0;
    }
    if (!taken.empty()) say(0);
    if (problem == 0 || problem == EAGAIN || closing) return true;
    taken.clear();
    say(problem);
    return problem == ENOBUFS;
  }

 private:
  void say(int error) {
    tell([&](Napi::Env env) -> std::vector<napi_value> {
      Napi::Value bytes = env.Undefined();
      if (error == 0) bytes = Napi::Buffer<uint8_t>::Copy(env, buffer.data(), buffer.size());
      return {bytes, Napi::Number::New(env, error)};
    });
  }
};

}  // namespace

// Lets only messages of these types wake us. Of NETLINK_ROUTE every notification is a datagram of its own (rtnl_notify); the machine's
// order of bytes is not BPF's. What cannot be attached costs time, not correctness.
void filterTypes(int fd, const std::vector<uint32_t>& types) {
  if (types.empty() || types.size() > 200) return;
  std::vector<sock_filter> program;
  program.push_back(BPF_STMT(BPF_LD | BPF_H | BPF_ABS, offsetof(nlmsghdr, nlmsg_type)));
  for (size_t i = 0; i < types.size(); i++) {
    const auto over = static_cast<uint8_t>(types.size() - i);
    program.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htons(static_cast<uint16_t>(types[i])), over, 0));
  }
  program.push_back(BPF_STMT(BPF_RET | BPF_K, 0));
  program.push_back(BPF_STMT(BPF_RET | BPF_K, UINT32_MAX));
  const sock_fprog filter = {static_cast<unsigned short>(program.size()), program.data()};
  setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter);
}

// openMonitor(handle, family, groups, listener(bytes | undefined, errno), types): Promise<number>
Napi::Value openMonitor(const Napi::CallbackInfo& info) {
  auto ns = namespaceArgument(info, 0);
  uint32_t family = numberArgument(info, 1, "family");
  if (family >= kFamilies) throw Napi::RangeError::New(info.Env(), "family: want 0 or 1");
  auto groups = wordsArgument(info, 2, "groups");
  if (!info[3].IsFunction()) throw Napi::TypeError::New(info.Env(), "listener: want a function");
  auto types = info[4].IsUndefined() ? std::vector<uint32_t>() : wordsArgument(info, 4, "types");
  auto listener = std::make_shared<Napi::FunctionReference>(Napi::Persistent(info[3].As<Napi::Function>()));
  auto fd = std::make_shared<Fd>();
  return runTask(
      info.Env(),
      [ns, family, groups, types, fd] {
        *fd = openNetlink(*ns, static_cast<int32_t>(family), nullptr, kReceiveBuffer);
        filterTypes(fd->get(), types);
        for (uint32_t group : groups) {
          check(setsockopt(fd->get(), SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group), "setsockopt");
        }
      },
      [fd, listener](Napi::Env env) -> Napi::Value {
        auto monitor = std::make_unique<Monitor>();
        monitor->fd = std::move(*fd);
        return Napi::Number::New(env, startWatching(env, std::move(monitor), std::move(*listener)));
      });
}

// closeMonitor(id): void. Idempotent.
Napi::Value closeMonitor(const Napi::CallbackInfo& info) {
  stopWatching(info.Env(), numberArgument(info, 0, "monitor"));
  return info.Env().Undefined();
}

}  // namespace weft
