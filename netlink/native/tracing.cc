// The kernel's tracing files, mounted where nobody sees them, and the clocks by which events are put in order.
#include "common.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <sys/syscall.h>
#include <time.h>

namespace weft {

// openTracefs(): number. A descriptor of a tracefs that is mounted nowhere: the mount ends with it, however this process ends.
Napi::Value openTracefs(const Napi::CallbackInfo& info) {
  Fd context(check(static_cast<int>(syscall(SYS_fsopen, "tracefs", FSOPEN_CLOEXEC)), "fsopen"));
  check(static_cast<int>(syscall(SYS_fsconfig, context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0)), "fsconfig");
  Fd mounted(check(static_cast<int>(syscall(SYS_fsmount, context.get(), FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC)),
                   "fsmount"));
  return Napi::Number::New(info.Env(), mounted.release());
}

// clocks(): { realtime, monotonic, boot } in nanoseconds, read one after the other
Napi::Value clocks(const Napi::CallbackInfo& info) {
  auto read = [](clockid_t clock) {
    timespec now = {};
    check(clock_gettime(clock, &now), "clock_gettime");
    return static_cast<int64_t>(now.tv_sec) * 1000000000 + now.tv_nsec;
  };
  Napi::Object result = Napi::Object::New(info.Env());
  result.Set("realtime", Napi::BigInt::New(info.Env(), read(CLOCK_REALTIME)));
  result.Set("monotonic", Napi::BigInt::New(info.Env(), read(CLOCK_MONOTONIC)));
  return result;
}

}  // namespace weft
