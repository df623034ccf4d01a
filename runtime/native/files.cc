// Steps that make and fill files. Paths are those of the process: after `pivot` nothing outside can be meant any more.
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "monitor.h"

namespace {

// As many as the kernel follows (MAXSYMLINKS).
constexpr int kMostLinks = 40;

// What a link names, as a path of this process: it is looked up inside, as every other. 0 or an errno.
int target_of(const char *link, char (&target)[4096]) {
  const char *slash = strrchr(link, '/');
  const size_t before = slash == nullptr ? 0 : static_cast<size_t>(slash - link) + 1;
  const ssize_t length = readlink(link, target, sizeof target - 1);
  if (length < 0) return errno == EINVAL ? ENOENT : errno;
  if (target[0] == '/') {
    target[length] = '\0';
    return 0;
  }
  if (before + static_cast<size_t>(length) >= sizeof target) return ENAMETOOLONG;
  memmove(target + before, target, static_cast<size_t>(length));
  memcpy(target, link, before);
  target[before + static_cast<size_t>(length)] = '\0';
  return 0;
}

// mkdir -p, also where a link on the way leads to nothing yet; 0 or an errno.
int make_folders(const char *path, mode_t mode, int links = 0) {
  char part[4096];
  const size_t length = strlen(path);
  if (length >= sizeof part) return ENAMETOOLONG;
  for (size_t at = 1; at <= length; at++) {
    if (path[at] != '/' && path[at] != '\0') continue;
    memcpy(part, path, at);
    part[at] = '\0';
    if (mkdir(part, mode) == 0) continue;
    if (errno != EEXIST) return errno;
    struct stat found;
    char target[4096];
    if (stat(part, &found) == 0 || errno != ENOENT) continue;
    if (links == kMostLinks) return ELOOP;
    int error = target_of(part, target);
    if (error == 0) error = make_folders(target, mode, links + 1);
    if (error != 0) return error;
  }
  struct stat found;
  if (stat(path, &found) != 0) return errno;
  return S_ISDIR(found.st_mode) ? 0 : ENOTDIR;
}

int make_parents(const char *path) {
  char parent[4096];
  const char *slash = strrchr(path, '/');
  if (slash == nullptr || slash == path) return 0;
  const size_t length = static_cast<size_t>(slash - path);
  if (length >= sizeof parent) return ENAMETOOLONG;
  memcpy(parent, path, length);
  parent[length] = '\0';
  return make_folders(parent, 0755);
}

int make_file(const char *path, int links = 0) {
  if (const int error = make_parents(path)) return error;
  const int file = open(path, O_CREAT | O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0644);
  char target[4096];
  if (file < 0 && errno == ENOENT && links < kMostLinks && target_of(path, target) == 0) return make_file(target, links + 1);
  if (file < 0) return errno;
  close(file);
  return 0;
}

int make_device(const Step &step) {
  const mode_t type = step.argument(1)[0] == 'b' ? S_IFBLK : S_IFCHR;
  const dev_t device = makedev(number(step.argument(2)), number(step.argument(3)));
  const char *path = step.argument(0);
  const mode_t mode = step.count > 5 ? static_cast<mode_t>(number(step.argument(4))) : 0666;
  if (mknod(path, type | 0600, device) != 0) {
    struct stat found;
    // A file system that has it already, the same.
    if (errno != EEXIST || lstat(path, &found) != 0) return errno;
    return (found.st_mode & S_IFMT) == type && found.st_rdev == device ? 0 : EEXIST;
  }
  // mknod's mode is cut by the mask.
  return chmod(path, mode) == 0 ? 0 : errno;
}

// 0 or an errno; of the link itself where it is one.
int set_attribute(const char *path, const char *name, const char *value, size_t length) {
  return lsetxattr(path, name, value, length, 0) == 0 ? 0 : errno;
}

int make_link(const char *target, const char *path) {
  if (symlink(target, path) == 0) return 0;
  return errno == EEXIST ? 0 : errno;
}

}  // namespace

// attribute PATH NAME VALUE | pipe PATH | folder PATH MODE | file PATH | device PATH c|b MAJOR MINOR [MODE] | link TARGET PATH | write PATH TEXT | chdir PATH
// | own PATH UID GID | hostname NAME | umask NUMBER
int run_file_step(const Step &step) {
  const char *name = step.name();
  const char *path = step.argument(0);
  if (strcmp(name, "folder") == 0) return make_folders(path, static_cast<mode_t>(number(step.argument(1))));
  if (strcmp(name, "file") == 0) return make_file(path);
  if (strcmp(name, "device") == 0) return make_device(step);
  if (strcmp(name, "link") == 0) return make_link(path, step.argument(1));
  if (strcmp(name, "write") == 0) return write_file(path, step.argument(1), step.length(1), 0);
  if (strcmp(name, "put") == 0) return write_file(path, step.argument(1), step.length(1), O_CREAT | O_TRUNC);
  if (strcmp(name, "attribute") == 0) return set_attribute(path, step.argument(1), step.argument(2), step.length(2));
  if (strcmp(name, "pipe") == 0) return mkfifo(path, 0600) == 0 ? 0 : errno;
  if (strcmp(name, "chdir") == 0) return chdir(path) == 0 ? 0 : errno;
  if (strcmp(name, "own") == 0) {
    return chown(path, static_cast<uid_t>(number(step.argument(1))), static_cast<gid_t>(number(step.argument(2)))) == 0 ? 0 : errno;
  }
  if (strcmp(name, "hostname") == 0) return sethostname(path, step.length(0)) == 0 ? 0 : errno;
  if (strcmp(name, "umask") == 0) {
    umask(static_cast<mode_t>(number(path)));
    return 0;
  }
  return kUnknownStep;
}
