// A descriptor that the event loop watches for something to read.
#pragma once

#include "common.h"

#include <uv.h>

namespace weft {

class Listener;

// Owned by the loop: freed when uv_close has finished.
class Watched {
 public:
  virtual ~Watched() = default;

  // Takes what is there; false when the descriptor is of no more use.
  virtual bool drain() = 0;

  // Itself where it takes callers in.
  virtual Listener* listener() { return nullptr; }

  Fd fd;
  std::vector<uint8_t> buffer;
  bool closing = false;

 protected:
  // Calls the listener with the arguments that `make` gives.
  void tell(const std::function<std::vector<napi_value>(Napi::Env)>& make);
  // Ends it, from within as well. Idempotent.
  void stop();

 private:
  friend uint32_t startWatching(Napi::Env, std::unique_ptr<Watched>, Napi::FunctionReference);
  friend void stopWatching(Napi::Env, uint32_t);
  static void readable(uv_poll_t* poll, int status, int events);
  static void closed(uv_handle_t* handle);
  static void environmentEnds(napi_async_cleanup_hook_handle, void* argument);

  uv_poll_t poll_ = {};
  uint32_t id_ = 0;
  Addon* addon_ = nullptr;
  Napi::FunctionReference listener_;
  std::unique_ptr<Napi::AsyncContext> context_;
  napi_async_cleanup_hook_handle cleanup_ = nullptr;
};

// Begins to watch; returns its id, by which it is found again.
uint32_t startWatching(Napi::Env env, std::unique_ptr<Watched> watched, Napi::FunctionReference listener);

// Ends it. Idempotent.
void stopWatching(Napi::Env env, uint32_t id);

}  // namespace weft
