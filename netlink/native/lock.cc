// Exclusive flock(2) on a file, waited for on a thread of its own: any number may wait without using up the pool.
#include "common.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <cstring>
#include <thread>

namespace weft {

namespace {

// The locked descriptor, or -1 when `operation` has LOCK_NB and somebody else holds it.
int acquire(const std::string& path, int operation) {
  for (;;) {
    Fd file(check(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0600), "open"));
    struct stat held = {}, named = {};
    check(fstat(file.get(), &held), "fstat");
    if (!S_ISREG(held.st_mode)) throw SystemError{EINVAL, "lock: not a regular file"};
    while (flock(file.get(), operation) < 0) {
      if (errno == EWOULDBLOCK) return -1;
      if (errno != EINTR) throw SystemError{errno, "flock"};
    }
    // Somebody may have removed the file while we waited: a lock on a file without a name excludes nobody.
    if (stat(path.c_str(), &named) == 0 && named.st_ino == held.st_ino && named.st_dev == held.st_dev) {
      return file.release();
    }
  }
}

struct Wait {
  explicit Wait(Napi::Env env) : deferred(Napi::Promise::Deferred::New(env)) {}
  Napi::Promise::Deferred deferred;
  int fd = -1;
  SystemError error{0, ""};
};

void deliver(Napi::Env env, Napi::Function, Wait* wait) {
  if (env != nullptr) {
    Napi::HandleScope scope(env);
    if (wait->fd >= 0) {
      wait->deferred.Resolve(Napi::Number::New(env, wait->fd));
    } else {
      wait->deferred.Reject(systemError(env, wait->error).Value());
    }
  } else if (wait->fd >= 0) {
    close(wait->fd);
  }
  delete wait;
}

}  // namespace

// tryLock(path): number. The descriptor to close for release, or -1 when it is held.
Napi::Value tryLock(const Napi::CallbackInfo& info) {
  std::string path = stringArgument(info, 0, "path");
  return Napi::Number::New(info.Env(), acquire(path, LOCK_EX | LOCK_NB));
}

// waitLock(path): Promise<number>
Napi::Value waitLock(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  std::string path = stringArgument(info, 0, "path");
  auto* wait = new Wait(env);
  Napi::Promise promise = wait->deferred.Promise();
  Napi::Function nothing = Napi::Function::New(env, [](const Napi::CallbackInfo&) {});
  auto back = Napi::ThreadSafeFunction::New(env, nothing, "weft lock", 0, 1);
  try {
    std::thread([path, wait, back]() mutable {
      try {
        wait->fd = acquire(path, LOCK_EX);
      } catch (const SystemError& error) {
        wait->error = error;
      } catch (...) {
        wait->error = SystemError{ENOMEM, "lock"};
      }
      // When the environment is going down nobody will take it; the process's end releases the lock.
      if (back.BlockingCall(wait, deliver) == napi_ok) back.Release();
    }).detach();
  } catch (const std::system_error&) {
    back.Release();
    delete wait;
    throw SystemError{EAGAIN, "pthread_create"};
  }
  return promise;
}

}  // namespace weft
