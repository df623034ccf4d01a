// Steps that take power away: limits, user, capabilities, the filter of system calls.
#include <errno.h>
#include <grp.h>
#include <net/if.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "monitor.h"

namespace {

// linux/capability.h, _LINUX_CAPABILITY_VERSION_3; the C library has no names for these.
struct CapabilityHeader {
  uint32_t version;
  int pid;
};
struct CapabilitySets {
  uint32_t effective;
  uint32_t permitted;
  uint32_t inheritable;
};
constexpr uint32_t kVersion3 = 0x20080522;
// linux/seccomp.h
constexpr unsigned kSetModeFilter = 1;
struct FilterProgram {
  unsigned short length;
  const void *filter;
};
constexpr size_t kInstruction = 8;

// What no process below can ever get back.
int bound(uint64_t kept) {
  for (int capability = 0; capability < 64; capability++) {
    if ((kept >> capability & 1) != 0) continue;
    // EINVAL: the kernel has no more of them.
    if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0) return errno == EINVAL ? 0 : errno;
  }
  return 0;
}

// EFFECTIVE [PERMITTED INHERITABLE AMBIENT]
int hold(const Step &step) {
  const uint64_t effective = number(step.argument(0));
  const uint64_t permitted = step.count > 2 ? number(step.argument(1)) : effective;
  const uint64_t inheritable = number(step.argument(2));
  const uint64_t ambient = number(step.argument(3));
  const CapabilityHeader header = {kVersion3, 0};
  CapabilitySets sets[2] = {};
  for (int half = 0; half < 2; half++) {
    const int shift = 32 * half;
    sets[half] = {static_cast<uint32_t>(effective >> shift), static_cast<uint32_t>(permitted >> shift),
                  static_cast<uint32_t>(inheritable >> shift)};
  }
  CapabilitySets now[2] = {};
  if (syscall(SYS_capget, &header, now) != 0) return errno;
  for (int half = 0; half < 2; half++) {
    sets[half].permitted &= now[half].permitted;
    sets[half].effective &= sets[half].permitted;
    sets[half].inheritable &= sets[half].permitted;
  }
  if (syscall(SYS_capset, &header, sets) != 0) return errno;
  for (int capability = 0; capability < 64; capability++) {
    if ((ambient >> capability & 1) == 0 || (sets[capability / 32].inheritable >> capability % 32 & 1) == 0) continue;
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0) != 0) return errno;
  }
  return 0;
}

int filter(const void *instructions, size_t length) {
  if (length == 0 || length % kInstruction != 0) return EINVAL;
  const FilterProgram program = {static_cast<unsigned short>(length / kInstruction), instructions};
  return syscall(SYS_seccomp, kSetModeFilter, 0, &program) == 0 ? 0 : errno;
}

int become(const Step &step) {
  gid_t groups[64];
  size_t count = 0;
  for (const char *at = step.argument(2); *at != '\0';) {
    if (count == sizeof groups / sizeof *groups) return E2BIG;
    groups[count++] = static_cast<gid_t>(number(at));
    const char *comma = strchrnul(at, ',');
    at = *comma == ',' ? comma + 1 : comma;
  }
  const uid_t user = static_cast<uid_t>(number(step.argument(0)));
  const gid_t group = static_cast<gid_t>(number(step.argument(1)));
  // A user namespace made without root may not change groups: then they are not asked for.
  if (strcmp(step.argument(2), "keep") != 0 && setgroups(count, groups) != 0) return errno;
  // What it may still do is said by `hold`, which comes next.
  if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0) return errno;
  if (setresgid(group, group, group) != 0 || setresuid(user, user, user) != 0) return errno;
  return 0;
}

int limit(const Step &step) {
  const rlimit wanted = {number(step.argument(1)), number(step.argument(2))};
  return setrlimit(static_cast<int>(number(step.argument(0))), &wanted) == 0 ? 0 : errno;
}

// The loopback link of a new network namespace is down.
int link_up(const char *name) {
  const int any = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (any < 0) return errno;
  ifreq request = {};
  strncpy(request.ifr_name, name, IFNAMSIZ - 1);
  int error = ioctl(any, SIOCGIFFLAGS, &request) == 0 ? 0 : errno;
  request.ifr_flags |= IFF_UP;
  if (error == 0 && ioctl(any, SIOCSIFFLAGS, &request) != 0) error = errno;
  close(any);
  return error;
}

}  // namespace

// link-up NAME | bound MASK | hold MASK | user UID GID GROUPS | limit RESOURCE SOFT HARD | no-new-privileges | filter BPF | die-with-parent
// | session
int run_identity_step(const Step &step) {
  const char *name = step.name();
  if (strcmp(name, "link-up") == 0) return link_up(step.argument(0));
  if (strcmp(name, "bound") == 0) return bound(number(step.argument(0)));
  if (strcmp(name, "hold") == 0) return hold(step);
  if (strcmp(name, "user") == 0) return become(step);
  if (strcmp(name, "limit") == 0) return limit(step);
  if (strcmp(name, "no-new-privileges") == 0) return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 ? 0 : errno;
  if (strcmp(name, "filter") == 0) return filter(step.argument(0), step.length(0));
  if (strcmp(name, "die-with-parent") == 0) return prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) == 0 ? 0 : errno;
  if (strcmp(name, "session") == 0) return setsid() >= 0 || errno == EPERM ? 0 : errno;
  return kUnknownStep;
}
