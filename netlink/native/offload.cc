// Offloads of links (linux/ethtool.h). Netlink has them too, in a family (NETLINK_GENERIC) that nothing else here needs.
#include "common.h"

#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>

#include <cstring>

namespace weft {

// checksumOffload(handle, link, value | undefined): Promise<boolean>. Whether the link leaves checksums of what it sends to later (it was
// before, where a value is given and the kernel takes it).
Napi::Value checksumOffload(const Napi::CallbackInfo& info) {
  auto ns = namespaceArgument(info, 0);
  std::string link = stringArgument(info, 1, "link");
  if (link.size() >= IFNAMSIZ) throw Napi::TypeError::New(info.Env(), "link: want at most 15 bytes");
  bool set = !info[2].IsUndefined();
  uint32_t value = set && info[2].ToBoolean().Value() ? 1 : 0;
  auto found = std::make_shared<uint32_t>(value);
  return runTask(
      info.Env(),
      [ns, link, set, found] {
        std::lock_guard<std::mutex> turn(ns->mutex);
        ethtool_value request = {};
        request.cmd = set ? ETHTOOL_STXCSUM : ETHTOOL_GTXCSUM;
        request.data = *found;
        ifreq query = {};
        strncpy(query.ifr_name, link.c_str(), IFNAMSIZ - 1);
        query.ifr_data = reinterpret_cast<char*>(&request);
        // Any socket of the namespace will do.
        check(ioctl(netlinkSocket(*ns, kRoute).fd.get(), SIOCETHTOOL, &query), "ioctl");
        *found = request.data;
      },
      [found](Napi::Env env) -> Napi::Value { return Napi::Boolean::New(env, *found != 0); });
}

}  // namespace weft
