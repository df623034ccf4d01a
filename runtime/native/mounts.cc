// Steps that mount. What of the host is to be seen inside is taken by the monitor, which may read everything, and placed by the
// container's first process after `pivot`: the target is looked up inside, whatever links an image has on its way.
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "monitor.h"

namespace {

struct Word {
  const char *name;
  unsigned long flag;
};

// Of `take`: without what is mounted below; the options are those of the first mount alone.
constexpr unsigned long kFlat = 1ul << 40;
constexpr unsigned long kTop = 1ul << 41;

constexpr Word kFlags[] = {
    {"ro", MS_RDONLY},        {"nosuid", MS_NOSUID},   {"nodev", MS_NODEV},         {"noexec", MS_NOEXEC},
    {"relatime", MS_RELATIME}, {"strictatime", MS_STRICTATIME}, {"noatime", MS_NOATIME}, {"nodiratime", MS_NODIRATIME},
    {"sync", MS_SYNCHRONOUS}, {"dirsync", MS_DIRSYNC}, {"lazytime", MS_LAZYTIME},       {"nosymfollow", 0x100},
    {"bind", MS_BIND},       {"shared", MS_SHARED},   {"slave", MS_SLAVE},
    {"flat", kFlat},         {"top", kTop},
};

// Comma-separated words to flags; what is no flag stands for itself and is the file system's own option (`data`).
unsigned long flags_of(const char *options) {
  unsigned long flags = 0;
  for (const char *at = options; *at != '\0';) {
    const char *end = strchrnul(at, ',');
    for (const Word &word : kFlags) {
      const size_t length = static_cast<size_t>(end - at);
      if (strlen(word.name) == length && strncmp(word.name, at, length) == 0) flags |= word.flag;
    }
    at = *end == ',' ? end + 1 : end;
  }
  return flags;
}

// A remount in a user namespace must keep what was locked.
unsigned long flags_at(const char *path) {
  struct statvfs found;
  if (statvfs(path, &found) != 0) return 0;
  unsigned long flags = 0;
  if (found.f_flag & ST_NOSUID) flags |= MS_NOSUID;
  if (found.f_flag & ST_NODEV) flags |= MS_NODEV;
  if (found.f_flag & ST_NOEXEC) flags |= MS_NOEXEC;
  if (found.f_flag & ST_NOATIME) flags |= MS_NOATIME;
  if (found.f_flag & ST_NODIRATIME) flags |= MS_NODIRATIME;
  if (found.f_flag & ST_RELATIME) flags |= MS_RELATIME;
  if (found.f_flag & ST_RDONLY) flags |= MS_RDONLY;
  return flags;
}

int remount(const char *path, unsigned long flags) {
  return mount(nullptr, path, nullptr, MS_REMOUNT | MS_BIND | flags_at(path) | flags, nullptr) == 0 ? 0 : errno;
}

// linux/mount.h; the C library has no names for these.
constexpr unsigned kCloneTree = 1;
constexpr unsigned kEmptyPath = 0x1000;
constexpr unsigned kRecursive = 0x8000;
constexpr unsigned kFromEmptyPath = 4;
struct MountAttributes {
  uint64_t set, clear, propagation, user_namespace;
};

// Trees of mounts taken from the host by their number, not mounted anywhere yet.
constexpr size_t kMostTrees = 128;
int trees[kMostTrees];

uint64_t attributes_of(unsigned long flags) {
  uint64_t attributes = 0;
  if (flags & MS_RDONLY) attributes |= 0x1;
  if (flags & MS_NOSUID) attributes |= 0x2;
  if (flags & MS_NODEV) attributes |= 0x4;
  if (flags & MS_NOEXEC) attributes |= 0x8;
  return attributes;
}

int take(size_t slot, const char *source, const char *options) {
  if (slot >= kMostTrees) return E2BIG;
  const unsigned long flags = flags_of(options);
  const unsigned below = flags & kFlat ? 0 : kRecursive;
  const int tree = static_cast<int>(syscall(SYS_open_tree, AT_FDCWD, source, kCloneTree | below | O_CLOEXEC));
  if (tree < 0) return errno;
  trees[slot] = tree;
  const uint64_t propagation = flags & MS_SHARED ? MS_SHARED : flags & MS_SLAVE ? MS_SLAVE : MS_PRIVATE;
  const MountAttributes spread = {0, 0, propagation, 0};
  const MountAttributes attributes = {attributes_of(flags), 0, 0, 0};
  const unsigned reach = flags & kTop ? 0 : kRecursive;
  if (syscall(SYS_mount_setattr, tree, "", kEmptyPath | kRecursive, &spread, sizeof spread) != 0) return errno;
  return syscall(SYS_mount_setattr, tree, "", kEmptyPath | reach, &attributes, sizeof attributes) == 0 ? 0 : errno;
}

int place(size_t slot, const char *target) {
  if (slot >= kMostTrees || trees[slot] == 0) return EBADF;
  if (syscall(SYS_move_mount, trees[slot], "", AT_FDCWD, target, kFromEmptyPath) != 0) return errno;
  close(trees[slot]);
  trees[slot] = 0;
  return 0;
}

// What must not be read inside: nothing where there is nothing.
int mask(const char *path) {
  struct stat found;
  if (stat(path, &found) != 0) return errno == ENOENT || errno == ENOTDIR ? 0 : errno;
  if (S_ISDIR(found.st_mode)) {
    return mount("tmpfs", path, "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=0k,nr_inodes=2") == 0 ? 0 : errno;
  }
  return mount("/dev/null", path, nullptr, MS_BIND, nullptr) == 0 ? 0 : errno;
}

int make_read_only(const char *path) {
  if (mount(path, path, nullptr, MS_BIND | MS_REC, nullptr) != 0) return errno == ENOENT ? 0 : errno;
  return remount(path, MS_RDONLY);
}

// The old root stays below the new one as the working folder until `leave`: a user namespace may mount proc only where it sees one.
int pivot(const char *root) {
  const int old_root = open("/", O_DIRECTORY | O_PATH | O_CLOEXEC);
  if (old_root < 0) return errno;
  int error = 0;
  // In a user namespace what was mounted before is locked: bound anew it may become the root.
  if (mount(root, root, nullptr, MS_BIND | MS_REC, nullptr) != 0 || chdir(root) != 0 || syscall(SYS_pivot_root, ".", ".") != 0 ||
      fchdir(old_root) != 0) {
    error = errno;
  }
  close(old_root);
  return error;
}

int leave() {
  // Nothing of what happens to mounts inside may reach the host's.
  if (mount(nullptr, ".", nullptr, MS_SLAVE | MS_REC, nullptr) != 0) return errno;
  if (umount2(".", MNT_DETACH) != 0) return errno;
  return chdir("/") == 0 ? 0 : errno;
}

unsigned long propagation(const char *word) {
  return strcmp(word, "private") == 0 ? MS_PRIVATE : strcmp(word, "shared") == 0 ? MS_SHARED : MS_SLAVE;
}

}  // namespace

void forget_trees() {
  for (int &tree : trees) {
    if (tree > 0) close(tree);
    tree = 0;
  }
}

// mount SOURCE TARGET TYPE OPTIONS DATA | take NUMBER SOURCE OPTIONS | place NUMBER TARGET | remount TARGET OPTIONS | mask PATH | readonly PATH
// | propagation TARGET slave|private | pivot ROOT | leave
int run_mount_step(const Step &step) {
  const char *name = step.name();
  const char *first = step.argument(0);
  const char *second = step.argument(1);
  if (strcmp(name, "mount") == 0) {
    return mount(first, second, step.argument(2), flags_of(step.argument(3)), step.argument(4)) == 0 ? 0 : errno;
  }
  if (strcmp(name, "take") == 0) return take(static_cast<size_t>(number(first)), second, step.argument(2));
  if (strcmp(name, "place") == 0) return place(static_cast<size_t>(number(first)), second);
  if (strcmp(name, "remount") == 0) return remount(first, flags_of(second));
  if (strcmp(name, "mask") == 0) return mask(first);
  if (strcmp(name, "readonly") == 0) return make_read_only(first);
  if (strcmp(name, "propagation") == 0) {
    return mount(nullptr, first, nullptr, propagation(second) | MS_REC, nullptr) == 0 ? 0 : errno;
  }
  if (strcmp(name, "pivot") == 0) return pivot(first);
  if (strcmp(name, "leave") == 0) return leave();
  return kUnknownStep;
}
