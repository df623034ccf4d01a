// Notifications: a netlink socket that has joined groups, watched by the event loop.
#include "common.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <sys/socket.h>
#include <uv.h>

#include <cstddef>

namespace weft {

// Owned by the loop: freed when uv_close has finished.
struct Monitor {
  Fd fd;
  uv_poll_t poll = {};
  uint32_t id = 0;
  Addon* addon = nullptr;
  Napi::FunctionReference listener;
  std::unique_ptr<Napi::AsyncContext> context;
  napi_async_cleanup_hook_handle cleanup = nullptr;
  std::vector<uint8_t> buffer;
  bool closing = false;
};

namespace {

constexpr int kReceiveBuffer = 4 << 20;

// At most this many datagrams in one turn, so that a flood leaves time for the rest of the program.
constexpr int kPerTurn = 64;

// Of one datagram: nf_tables puts several messages into one, of 8 KiB at most (nft_commit_notify), unless one is longer than that.
constexpr size_t kLongest = 64 * 1024;

void closed(uv_handle_t* handle) {
  auto* monitor = static_cast<Monitor*>(handle->data);
  auto cleanup = monitor->cleanup;
  delete monitor;
  if (cleanup != nullptr) napi_remove_async_cleanup_hook(cleanup);
}

void stop(Monitor* monitor) {
  if (monitor->closing) return;
  monitor->closing = true;
  if (monitor->addon != nullptr) monitor->addon->monitors.erase(monitor->id);
  uv_close(reinterpret_cast<uv_handle_t*>(&monitor->poll), closed);
}

// The environment goes down: the addon's data may be gone already.
void environmentEnds(napi_async_cleanup_hook_handle, void* argument) {
  auto* monitor = static_cast<Monitor*>(argument);
  monitor->addon = nullptr;
  monitor->listener.Reset();
  monitor->context.reset();
  stop(monitor);
}

void tell(Monitor* monitor, const uint8_t* data, size_t size, int error) {
  Napi::Env env = monitor->listener.Env();
  Napi::HandleScope scope(env);
  try {
    Napi::Value bytes = env.Undefined();
    if (error == 0) bytes = Napi::Buffer<uint8_t>::Copy(env, data, size);
    monitor->listener.MakeCallback(env.Global(), {bytes, Napi::Number::New(env, error)}, *monitor->context);
  } catch (const Napi::Error& failure) {
    // Empty when the environment is being terminated and cannot run anything.
    if (!failure.IsEmpty()) napi_fatal_exception(env, failure.Value());
  }
}

// Takes what is there, in one call of the listener's; false when the socket is of no more use.
bool drain(Monitor* monitor) {
  std::vector<uint8_t>& taken = monitor->buffer;
  taken.clear();
  int problem = 0;
  for (int count = 0; count < kPerTurn && problem == 0; count++) {
    const size_t before = taken.size();
    taken.resize(before + kLongest);
    sockaddr_nl from = {};
    socklen_t length = sizeof from;
    const ssize_t size = recvfrom(monitor->fd.get(), taken.data() + before, kLongest, MSG_DONTWAIT | MSG_TRUNC,
                                  reinterpret_cast<sockaddr*>(&from), &length);
    // What is too long is lost, as in an overrun.
    if (size < 0) problem = errno;
    else if (size > static_cast<ssize_t>(kLongest)) problem = ENOBUFS;
    const bool isWhole = problem == 0 && from.nl_pid == 0;
    taken.resize(before + (isWhole ? NLMSG_ALIGN(static_cast<size_t>(size)) : 0));
    if (problem == EINTR) problem = 0;
  }
  if (!taken.empty()) tell(monitor, taken.data(), taken.size(), 0);
  if (problem == 0 || problem == EAGAIN || monitor->closing) return true;
  tell(monitor, nullptr, 0, problem);
  return problem == ENOBUFS;
}

void readable(uv_poll_t* poll, int status, int) {
  auto* monitor = static_cast<Monitor*>(poll->data);
  // libuv stops watching a socket that has an error, and an overrun is one.
  if (drain(monitor) && status < 0 && !monitor->closing) uv_poll_start(poll, UV_READABLE, readable);
}

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
        uv_loop_t* loop = nullptr;
        if (napi_get_uv_event_loop(env, &loop) != napi_ok) throw Napi::Error::New(env, "no event loop");
        auto monitor = std::make_unique<Monitor>();
        monitor->fd = std::move(*fd);
        monitor->addon = env.GetInstanceData<Addon>();
        monitor->id = monitor->addon->next++;
        monitor->listener = std::move(*listener);
        monitor->context = std::make_unique<Napi::AsyncContext>(env, "weft monitor");
        monitor->poll.data = monitor.get();
        int status = uv_poll_init(loop, &monitor->poll, monitor->fd.get());
        if (status < 0) throw Napi::Error::New(env, uv_strerror(status));
        Monitor* running = monitor.release();
        napi_add_async_cleanup_hook(env, environmentEnds, running, &running->cleanup);
        uv_poll_start(&running->poll, UV_READABLE, readable);
        running->addon->monitors[running->id] = running;
        return Napi::Number::New(env, running->id);
      });
}

// closeMonitor(id): void. Idempotent.
Napi::Value closeMonitor(const Napi::CallbackInfo& info) {
  uint32_t id = numberArgument(info, 0, "monitor");
  auto& monitors = info.Env().GetInstanceData<Addon>()->monitors;
  auto found = monitors.find(id);
  if (found != monitors.end()) stop(found->second);
  return info.Env().Undefined();
}

}  // namespace weft
