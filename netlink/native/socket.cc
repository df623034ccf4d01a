// Sockets of any kind inside a namespace: what is sent and received is bytes, what it means is said in TypeScript.
#include "watched.h"

#include <errno.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <sys/socket.h>

namespace weft {

namespace {

// At most this many datagrams in one turn, so that a flood leaves time for the rest of the program.
constexpr int kPerTurn = 256;
constexpr size_t kControl = 256;

class Socket : public Watched {
 public:
  bool stream = false;

  bool drain() override {
    for (int count = 0; count < kPerTurn && !closing; count++) {
      sockaddr_storage from = {};
      uint8_t control[kControl];
      iovec part = {buffer.data(), buffer.size()};
      msghdr message = {};
      message.msg_name = &from;
      message.msg_namelen = sizeof from;
      message.msg_iov = &part;
      message.msg_iovlen = 1;
      message.msg_control = control;
      message.msg_controllen = sizeof control;
      const ssize_t size = recvmsg(fd.get(), &message, MSG_DONTWAIT | (stream ? 0 : MSG_TRUNC));
      if (size < 0 && errno == EINTR) continue;
      if (size < 0 && errno == EAGAIN) return true;
      if (size < 0) {
        const int error = errno;
        tell([&](Napi::Env env) -> std::vector<napi_value> {
          return {env.Undefined(), env.Undefined(), env.Undefined(), Napi::Number::New(env, 0), Napi::Number::New(env, error)};
        });
        // A connection is over after its first error; another socket tells an error once.
        if (stream || error == EBADF) return false;
        continue;
      }
      if (stream && size == 0) return false;
      const size_t kept = std::min(static_cast<size_t>(size), buffer.size());
      tell([&](Napi::Env env) -> std::vector<napi_value> {
        return {Napi::Buffer<uint8_t>::Copy(env, buffer.data(), kept),
                Napi::Buffer<uint8_t>::Copy(env, reinterpret_cast<uint8_t*>(&from), message.msg_namelen),
                Napi::Buffer<uint8_t>::Copy(env, control, message.msg_controllen),
                Napi::Number::New(env, static_cast<double>(size)), Napi::Number::New(env, 0)};
      });
    }
    return true;
  }
};

Watched& socketArgument(const Napi::CallbackInfo& info) {
  auto& all = info.Env().GetInstanceData<Addon>()->watched;
  auto found = all.find(numberArgument(info, 0, "socket"));
  if (found == all.end()) throw SystemError{EBADF, "socket is closed"};
  return *found->second;
}

const sockaddr* asAddress(const std::vector<uint8_t>& bytes) { return reinterpret_cast<const sockaddr*>(bytes.data()); }

}  // namespace

// openSocket(handle, domain, type, protocol, room, listener(bytes | undefined, address, control, length, errno)): Promise<number>
Napi::Value openSocket(const Napi::CallbackInfo& info) {
  auto ns = namespaceArgument(info, 0);
  const int domain = static_cast<int>(numberArgument(info, 1, "domain"));
  const int type = static_cast<int>(numberArgument(info, 2, "type"));
  const int protocol = static_cast<int>(numberArgument(info, 3, "protocol"));
  const uint32_t room = numberArgument(info, 4, "room");
  if (room == 0 || room > (1u << 20)) throw Napi::RangeError::New(info.Env(), "room: want 1..1048576 bytes");
  if (!info[5].IsFunction()) throw Napi::TypeError::New(info.Env(), "listener: want a function");
  auto listener = std::make_shared<Napi::FunctionReference>(Napi::Persistent(info[5].As<Napi::Function>()));
  auto fd = std::make_shared<Fd>();
  return runTask(
      info.Env(),
      [ns, domain, type, protocol, fd] {
        inside(*ns, [&] { fd->reset(check(socket(domain, type | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol), "socket")); });
      },
      [fd, listener, type, room](Napi::Env env) -> Napi::Value {
        auto made = std::make_unique<Socket>();
        made->fd = std::move(*fd);
        made->stream = type == SOCK_STREAM;
        made->buffer.resize(room);
        return Napi::Number::New(env, startWatching(env, std::move(made), std::move(*listener)));
      });
}

// closeSocket(id): void. Idempotent.
Napi::Value closeSocket(const Napi::CallbackInfo& info) {
  stopWatching(info.Env(), numberArgument(info, 0, "socket"));
  return info.Env().Undefined();
}

// bindSocket(id, address): void
Napi::Value bindSocket(const Napi::CallbackInfo& info) {
  auto address = bytesArgument(info, 1, "address");
  check(bind(socketArgument(info).fd.get(), asAddress(address), static_cast<socklen_t>(address.size())), "bind");
  return info.Env().Undefined();
}

// connectSocket(id, address): void. A connection is then under way, not made.
Napi::Value connectSocket(const Napi::CallbackInfo& info) {
  auto address = bytesArgument(info, 1, "address");
  const int result = connect(socketArgument(info).fd.get(), asAddress(address), static_cast<socklen_t>(address.size()));
  if (result < 0 && errno != EINPROGRESS) throw SystemError{errno, "connect"};
  return info.Env().Undefined();
}

// sendSocket(id, bytes, address | undefined): void
Napi::Value sendSocket(const Napi::CallbackInfo& info) {
  auto bytes = bytesArgument(info, 1, "bytes");
  auto address = info[2].IsUndefined() ? std::vector<uint8_t>() : bytesArgument(info, 2, "address");
  const ssize_t size = sendto(socketArgument(info).fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL,
                              address.empty() ? nullptr : asAddress(address), static_cast<socklen_t>(address.size()));
  if (size < 0) throw SystemError{errno, "sendto"};
  return info.Env().Undefined();
}

// socketName(id): Buffer, its own address
Napi::Value socketName(const Napi::CallbackInfo& info) {
  sockaddr_storage name = {};
  socklen_t length = sizeof name;
  check(getsockname(socketArgument(info).fd.get(), reinterpret_cast<sockaddr*>(&name), &length), "getsockname");
  return Napi::Buffer<uint8_t>::Copy(info.Env(), reinterpret_cast<uint8_t*>(&name), length);
}

// setSocketOption(id, level, name, value): void
Napi::Value setSocketOption(const Napi::CallbackInfo& info) {
  auto value = bytesArgument(info, 3, "value");
  check(setsockopt(socketArgument(info).fd.get(), static_cast<int>(numberArgument(info, 1, "level")),
                   static_cast<int>(numberArgument(info, 2, "name")), value.data(), static_cast<socklen_t>(value.size())),
        "setsockopt");
  return info.Env().Undefined();
}

// getSocketOption(id, level, name, size): Buffer
Napi::Value getSocketOption(const Napi::CallbackInfo& info) {
  std::vector<uint8_t> value(std::min<uint32_t>(numberArgument(info, 3, "size"), 4096));
  auto length = static_cast<socklen_t>(value.size());
  check(getsockopt(socketArgument(info).fd.get(), static_cast<int>(numberArgument(info, 1, "level")),
                   static_cast<int>(numberArgument(info, 2, "name")), value.data(), &length),
        "getsockopt");
  return Napi::Buffer<uint8_t>::Copy(info.Env(), value.data(), length);
}

// filterSocket(id, program): void. `program`: struct sock_filter, one after the other.
Napi::Value filterSocket(const Napi::CallbackInfo& info) {
  auto program = bytesArgument(info, 1, "program");
  if (program.empty() || program.size() % sizeof(sock_filter) != 0 || program.size() / sizeof(sock_filter) > BPF_MAXINSNS) {
    throw Napi::RangeError::New(info.Env(), "program: want 1..4096 instructions");
  }
  const sock_fprog filter = {static_cast<unsigned short>(program.size() / sizeof(sock_filter)),
                             reinterpret_cast<sock_filter*>(program.data())};
  check(setsockopt(socketArgument(info).fd.get(), SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter), "setsockopt");
  return info.Env().Undefined();
}

// tryPort(descriptor of a namespace, type, address): number. What bind(2) says of an address, 0 or an errno; the socket is closed at once.
Napi::Value tryPort(const Napi::CallbackInfo& info) {
  auto ns = namespaceBehind(info, 0);
  const int type = static_cast<int>(numberArgument(info, 1, "type"));
  auto address = bytesArgument(info, 2, "address");
  if (address.size() < sizeof(sockaddr_in)) throw Napi::RangeError::New(info.Env(), "address: want a sockaddr_in or sockaddr_in6");
  const int family = asAddress(address)->sa_family;
  int error = 0;
  inside(*ns, [&] {
    Fd made(check(socket(family, type | SOCK_CLOEXEC, 0), "socket"));
    const int on = 1;
    // A connection that is over for all but the kernel is in nobody's way; one who listens is, all the same.
    if (type == SOCK_STREAM) setsockopt(made.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    // Also an address that the host will have.
    setsockopt(made.get(), IPPROTO_IP, IP_FREEBIND, &on, sizeof on);
    if (family == AF_INET6) setsockopt(made.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    if (bind(made.get(), asAddress(address), static_cast<socklen_t>(address.size())) < 0) error = errno;
  });
  return Napi::Number::New(info.Env(), error);
}

}  // namespace weft
