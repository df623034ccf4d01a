// A descriptor that the event loop watches: its life from uv_poll_init to the end of the environment.
#include "watched.h"

#include <system_error>
#include <thread>

namespace weft {

void Watched::closed(uv_handle_t* handle) {
  auto* watched = static_cast<Watched*>(handle->data);
  auto cleanup = watched->cleanup_;
  // A packet socket's close waits for an RCU grace period (packet_release in net/packet/af_packet.c): others must not wait with it.
  try {
    const int fd = watched->fd.get();
    std::thread([fd] { close(fd); }).detach();
    watched->fd.release();
  } catch (const std::system_error&) {
    // Closed here then.
  }
  delete watched;
  if (cleanup != nullptr) napi_remove_async_cleanup_hook(cleanup);
}

void Watched::stop() {
  if (closing) return;
  closing = true;
  if (addon_ != nullptr) addon_->watched.erase(id_);
  uv_close(reinterpret_cast<uv_handle_t*>(&poll_), closed);
}

// The environment goes down: the addon's data may be gone already.
void Watched::environmentEnds(napi_async_cleanup_hook_handle, void* argument) {
  auto* watched = static_cast<Watched*>(argument);
  watched->addon_ = nullptr;
  watched->listener_.Reset();
  watched->context_.reset();
  watched->stop();
}

void Watched::tell(const std::function<std::vector<napi_value>(Napi::Env)>& make) {
  Napi::Env env = listener_.Env();
  Napi::HandleScope scope(env);
  try {
    listener_.MakeCallback(env.Global(), make(env), *context_);
  } catch (const Napi::Error& failure) {
    // Empty when the environment is being terminated and cannot run anything.
    if (!failure.IsEmpty()) napi_fatal_exception(env, failure.Value());
  }
}

void Watched::readable(uv_poll_t* poll, int status, int) {
  auto* watched = static_cast<Watched*>(poll->data);
  const bool goesOn = watched->drain();
  if (watched->closing) return;
  if (!goesOn) uv_poll_stop(poll);
  // libuv stops watching a socket that has an error, and an overrun is one.
  else if (status < 0) uv_poll_start(poll, UV_READABLE, readable);
}

uint32_t startWatching(Napi::Env env, std::unique_ptr<Watched> watched, Napi::FunctionReference listener) {
  uv_loop_t* loop = nullptr;
  if (napi_get_uv_event_loop(env, &loop) != napi_ok) throw Napi::Error::New(env, "no event loop");
  watched->addon_ = env.GetInstanceData<Addon>();
  watched->id_ = watched->addon_->next++;
  watched->listener_ = std::move(listener);
  watched->context_ = std::make_unique<Napi::AsyncContext>(env, "weft socket");
  watched->poll_.data = watched.get();
  int status = uv_poll_init(loop, &watched->poll_, watched->fd.get());
  if (status < 0) throw Napi::Error::New(env, uv_strerror(status));
  Watched* running = watched.release();
  napi_add_async_cleanup_hook(env, Watched::environmentEnds, running, &running->cleanup_);
  uv_poll_start(&running->poll_, UV_READABLE, Watched::readable);
  running->addon_->watched[running->id_] = running;
  return running->id_;
}

void stopWatching(Napi::Env env, uint32_t id) {
  auto& all = env.GetInstanceData<Addon>()->watched;
  auto found = all.find(id);
  if (found != all.end()) found->second->stop();
}

}  // namespace weft
