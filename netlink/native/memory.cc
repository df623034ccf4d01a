// What the C library keeps of freed memory goes back to the system.
#include "common.h"

#include <malloc.h>

namespace weft {

// trimMemory(): void
Napi::Value trimMemory(const Napi::CallbackInfo& info) {
#ifdef __GLIBC__
  malloc_trim(0);
#endif
  return info.Env().Undefined();
}

}  // namespace weft
