// Unix sockets: what Node's own do not offer.
#include "common.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <cstddef>
#include <cstring>

namespace weft {

// sendDatagram(path, text): void
Napi::Value sendDatagram(const Napi::CallbackInfo& info) {
  const std::string path = stringArgument(info, 0, "path");
  const std::string text = stringArgument(info, 1, "text");
  sockaddr_un to = {};
  to.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof to.sun_path) throw SystemError{ENAMETOOLONG, "sendto"};
  memcpy(to.sun_path, path.data(), path.size());
  if (path[0] == '@') to.sun_path[0] = '\0';
  Fd made(check(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), "socket"));
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size());
  check(static_cast<int>(sendto(made.get(), text.data(), text.size(), MSG_NOSIGNAL,
                                reinterpret_cast<sockaddr*>(&to), size)),
        "sendto");
  return info.Env().Undefined();
}

}  // namespace weft
