// What JavaScript asks of a listener: open, answer, look, close.
#include "listener.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

namespace weft {

namespace {

// Callers that may wait until they are taken in: as Node has it; the kernel has a bound of its own (listen(2)).
constexpr int kQueue = 511;

// Null when it is closed: its callers are gone then.
Listener* listenerArgument(const Napi::CallbackInfo& info) {
  const uint32_t id = numberArgument(info, 0, "listener");
  auto& all = info.Env().GetInstanceData<Addon>()->watched;
  const auto found = all.find(id);
  return found == all.end() ? nullptr : found->second->listener();
}

Fd listenOn(const std::string& path) {
  sockaddr_un at = {};
  at.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof at.sun_path) throw SystemError{ENAMETOOLONG, "bind"};
  memcpy(at.sun_path, path.data(), path.size());
  Fd made(check(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), "socket"));
  check(bind(made.get(), reinterpret_cast<sockaddr*>(&at), sizeof at), "bind");
  check(listen(made.get(), kQueue), "listen");
  return made;
}

}  // namespace

// openListener(path, identity, [callers, held, longest, patience], listener(why, caller, words, input, pid)): number
Napi::Value openListener(const Napi::CallbackInfo& info) {
  const std::string path = stringArgument(info, 0, "path");
  std::string identity = stringArgument(info, 1, "identity");
  const std::vector<uint32_t> limits = wordsArgument(info, 2, "limits");
  if (limits.size() != 4) throw Napi::RangeError::New(info.Env(), "limits: want four numbers");
  if (!info[3].IsFunction()) throw Napi::TypeError::New(info.Env(), "listener: want a function");
  const Limits all = {limits[0], limits[1], limits[2], limits[3]};
  auto made = std::make_unique<Listener>(listenOn(path), std::move(identity), all);
  return Napi::Number::New(info.Env(),
                           startWatching(info.Env(), std::move(made), Napi::Persistent(info[3].As<Napi::Function>())));
}

// closeListener(listener): void. Callers that are served get their answers. Idempotent.
Napi::Value closeListener(const Napi::CallbackInfo& info) {
  if (Listener* listener = listenerArgument(info)) listener->retire();
  return info.Env().Undefined();
}

// writeCaller(listener, caller, kind, status, text, last): void. `kind`: one letter; `status`: 0..255, or 256 for none.
Napi::Value writeCaller(const Napi::CallbackInfo& info) {
  Listener* listener = listenerArgument(info);
  const uint32_t caller = numberArgument(info, 1, "caller");
  const uint32_t kind = numberArgument(info, 2, "kind");
  const uint32_t status = numberArgument(info, 3, "status");
  if (!info[4].IsString()) throw Napi::TypeError::New(info.Env(), "text: want a string");
  const bool last = info[5].IsBoolean() && info[5].As<Napi::Boolean>().Value();
  if (listener != nullptr) {
    const std::string text = info[4].As<Napi::String>().Utf8Value();
    listener->write(caller, frameOf(static_cast<char>(kind), status > 255 ? -1 : static_cast<int>(status), text), last);
  }
  return info.Env().Undefined();
}

// dropCaller(listener, caller): void. Without another word. Idempotent.
Napi::Value dropCaller(const Napi::CallbackInfo& info) {
  Listener* listener = listenerArgument(info);
  const uint32_t caller = numberArgument(info, 1, "caller");
  if (listener != nullptr) listener->drop(caller);
  return info.Env().Undefined();
}

// callerIsGone(listener, caller): boolean. As it is now: a caller that is served is not watched.
Napi::Value callerIsGone(const Napi::CallbackInfo& info) {
  Listener* listener = listenerArgument(info);
  const uint32_t caller = numberArgument(info, 1, "caller");
  return Napi::Boolean::New(info.Env(), listener == nullptr || listener->isGone(caller));
}

}  // namespace weft
