// The process itself: its memory and its end.
#include "common.h"

#include <malloc.h>
#include <unistd.h>

namespace weft {

// trimMemory(): void
Napi::Value trimMemory(const Napi::CallbackInfo& info) {
#ifdef __GLIBC__
  malloc_trim(0);
#endif
  return info.Env().Undefined();
}

// endProcess(status): does not return. exit(3) would wait for every pool thread, and one may hang in a write(2) for ever.
Napi::Value endProcess(const Napi::CallbackInfo& info) {
  _exit(static_cast<int>(numberArgument(info, 0, "status")));
}

}  // namespace weft
