// Changes to small files, each in one call: leases, their index, records of attachments (netlink/files.ts says what they promise).
#include "common.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <cmath>
#include <cstdio>

namespace weft {

namespace {

// Neither a pipe nor a link in a file's place may keep us waiting or lead us astray.
constexpr int kCareful = O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;

// Made shorter only where it must be: a file that is emptied and written again gets new blocks at once (ext4(5), auto_da_alloc).
void fill(int file, off_t size, const std::string& text) {
  if (size > static_cast<off_t>(text.size())) check(ftruncate(file, text.size()), "ftruncate");
  ssize_t written = pwrite(file, text.data(), text.size(), 0);
  if (written < 0) throw SystemError{errno, "write"};
  if (static_cast<size_t>(written) != text.size()) throw SystemError{ENOSPC, "write"};
}

void overwrite(const std::string& path, const std::string& text, mode_t mode) {
  Fd file(check(open(path.c_str(), O_WRONLY | O_CREAT | kCareful, mode), "open"));
  struct stat found = {};
  check(fstat(file.get(), &found), "fstat");
  fill(file.get(), found.st_size, text);
}

// Into the spare, made where there is none. What is no plain file, or has another name as well, is not ours to write to.
void fillSpare(const std::string& path, const std::string& text) {
  for (int attempt = 0;; attempt++) {
    const int only = attempt == 0 ? 0 : O_EXCL;
    Fd file(open(path.c_str(), O_WRONLY | O_CREAT | only | kCareful, 0644));
    struct stat found = {};
    if (file.valid() && fstat(file.get(), &found) == 0 && S_ISREG(found.st_mode) && found.st_nlink == 1) {
      return fill(file.get(), found.st_size, text);
    }
    const int failure = file.valid() ? EEXIST : errno;
    if (attempt > 0) throw SystemError{failure, "open"};
    if (unlink(path.c_str()) < 0) throw SystemError{errno == ENOENT ? failure : errno, "open"};
  }
}

// Where the filesystem has no renaming that spares what is there (NFS), by a second name.
int renameIfFree(const std::string& from, const std::string& to) {
  if (renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0) return 0;
  if (errno != EINVAL && errno != ENOSYS) return -1;
  return link(from.c_str(), to.c_str()) == 0 ? unlink(from.c_str()) : -1;
}

Napi::Value lookOf(Napi::Env env, const struct stat& found) {
  char identity[48], stamp[96];
  snprintf(identity, sizeof identity, "%llx-%llx", static_cast<unsigned long long>(found.st_dev),
           static_cast<unsigned long long>(found.st_ino));
  snprintf(stamp, sizeof stamp, "%lld.%09ld %lld.%09ld", static_cast<long long>(found.st_mtim.tv_sec),
           found.st_mtim.tv_nsec, static_cast<long long>(found.st_ctim.tv_sec), found.st_ctim.tv_nsec);
  Napi::Object look = Napi::Object::New(env);
  look.Set("identity", identity);
  look.Set("stamp", stamp);
  return look;
}

struct timespec timeArgument(const Napi::CallbackInfo& info, size_t index) {
  const double milliseconds = info[index].ToNumber().DoubleValue();
  const double seconds = std::floor(milliseconds / 1000);
  return {static_cast<time_t>(seconds), static_cast<long>((milliseconds - seconds * 1000) * 1e6)};
}

}  // namespace

// lookAtFolder(path): { identity, stamp } | undefined
Napi::Value lookAtFolder(const Napi::CallbackInfo& info) {
  struct stat found = {};
  if (stat(stringArgument(info, 0, "path").c_str(), &found) == 0) return lookOf(info.Env(), found);
  if (errno == ENOENT) return info.Env().Undefined();
  throw SystemError{errno, "stat"};
}

// dateFolder(path, accessed, modified): { identity, stamp }
Napi::Value dateFolder(const Napi::CallbackInfo& info) {
  const std::string path = stringArgument(info, 0, "path");
  const struct timespec times[] = {timeArgument(info, 1), timeArgument(info, 2)};
  struct stat found = {};
  check(utimensat(AT_FDCWD, path.c_str(), times, 0), "utimensat");
  check(stat(path.c_str(), &found), "stat");
  return lookOf(info.Env(), found);
}

// overwriteFile(path, text, mode): void
Napi::Value overwriteFile(const Napi::CallbackInfo& info) {
  overwrite(stringArgument(info, 0, "path"), stringArgument(info, 1, "text"), numberArgument(info, 2, "mode"));
  return info.Env().Undefined();
}

// claimName(spare, folder, names, text): number. Which of the names the file has now; -1 when all are taken.
Napi::Value claimName(const Napi::CallbackInfo& info) {
  const std::string spare = stringArgument(info, 0, "spare");
  const std::string folder = stringArgument(info, 1, "folder") + "/";
  const Napi::Array names = info[2].As<Napi::Array>();
  fillSpare(spare, stringArgument(info, 3, "text"));
  for (uint32_t at = 0; at < names.Length(); at++) {
    const Napi::Value name = names[at];
    if (renameIfFree(spare, folder + name.As<Napi::String>().Utf8Value()) == 0) return Napi::Number::New(info.Env(), at);
    if (errno == EEXIST) continue;
    const int error = errno;
    unlink(spare.c_str());
    throw SystemError{error, "rename"};
  }
  unlink(spare.c_str());
  return Napi::Number::New(info.Env(), -1);
}

// retireFile(path, spare): void. What is written into it says that it is no file any more, to those who read every file of a folder.
Napi::Value retireFile(const Napi::CallbackInfo& info) {
  const std::string path = stringArgument(info, 0, "path");
  const std::string spare = stringArgument(info, 1, "spare");
  if (renameat2(AT_FDCWD, path.c_str(), AT_FDCWD, spare.c_str(), RENAME_NOREPLACE) == 0) {
    Fd file(open(spare.c_str(), O_WRONLY | kCareful));
    if (!file.valid() || pwrite(file.get(), "", 1, 0) != 1) unlink(spare.c_str());
  } else if (errno != ENOENT && unlink(path.c_str()) != 0 && errno != ENOENT) {
    throw SystemError{errno, "unlink"};
  }
  return info.Env().Undefined();
}

// replaceFile(path, temporary, spare, text): void. The spare is taken by renaming it: nobody else writes to it then.
Napi::Value replaceFile(const Napi::CallbackInfo& info) {
  const std::string path = stringArgument(info, 0, "path");
  const std::string temporary = stringArgument(info, 1, "temporary");
  if (rename(stringArgument(info, 2, "spare").c_str(), temporary.c_str()) != 0 && errno != ENOENT) {
    throw SystemError{errno, "rename"};
  }
  overwrite(temporary, stringArgument(info, 3, "text"), 0600);
  check(rename(temporary.c_str(), path.c_str()), "rename");
  return info.Env().Undefined();
}

}  // namespace weft
