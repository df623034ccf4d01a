// Tap links, which netlink cannot make (drivers/net/tun.c, linux/if_tun.h).
#include "common.h"

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>

#include <cstring>

namespace weft {

// createTap(descriptor of a namespace, name, multiQueue, owner | undefined, group | undefined): Promise<void>. It stays when its
// maker closes it. EBUSY when the name is taken.
Napi::Value createTap(const Napi::CallbackInfo& info) {
  auto ns = namespaceBehind(info, 0);
  std::string name = stringArgument(info, 1, "link");
  if (name.empty() || name.size() >= IFNAMSIZ) {
    throw Napi::TypeError::New(info.Env(), "link: want 1 to 15 bytes");
  }
  bool multiQueue = info[2].ToBoolean().Value();
  bool hasOwner = !info[3].IsUndefined(), hasGroup = !info[4].IsUndefined();
  uint32_t owner = hasOwner ? numberArgument(info, 3, "owner") : 0;
  uint32_t group = hasGroup ? numberArgument(info, 4, "group") : 0;
  return runTask(
      info.Env(),
      [=] {
        inside(*ns, [&] {
          // It belongs to the namespace in which the file is opened.
          Fd tun(check(open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK), "open"));
          ifreq query = {};
          strncpy(query.ifr_name, name.c_str(), IFNAMSIZ - 1);
          // Without EXCL an existing one would be opened.
          query.ifr_flags = static_cast<short>(IFF_TAP | IFF_NO_PI | IFF_TUN_EXCL | (multiQueue ? IFF_MULTI_QUEUE : 0));
          check(ioctl(tun.get(), TUNSETIFF, &query), "TUNSETIFF");
          if (hasOwner) check(ioctl(tun.get(), TUNSETOWNER, static_cast<unsigned long>(owner)), "TUNSETOWNER");
          if (hasGroup) check(ioctl(tun.get(), TUNSETGROUP, static_cast<unsigned long>(group)), "TUNSETGROUP");
          check(ioctl(tun.get(), TUNSETPERSIST, 1UL), "TUNSETPERSIST");
        });
      },
      [](Napi::Env env) -> Napi::Value { return env.Undefined(); });
}

}  // namespace weft
