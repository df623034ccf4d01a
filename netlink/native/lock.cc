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

// Shared by the waiting thread and the environment. A worker thread's environment may end first, and takes the
// thread-safe function with it, so the thread asks under `mutex` whether there still is one.
struct Wait {
  explicit Wait(Napi::Env env) : env(env), deferred(Napi::Promise::Deferred::New(env)) {}
  napi_env env;
  Napi::Promise::Deferred deferred;
  Napi::ThreadSafeFunction back;
  std::mutex mutex;
  bool ended = false;
  Fd fd;
  SystemError error{0, ""};
};

using SharedWait = std::shared_ptr<Wait>;

void environmentEnds(void* argument) {
  auto* wait = static_cast<SharedWait*>(argument);
  {
    std::lock_guard<std::mutex> held((*wait)->mutex);
    (*wait)->ended = true;
  }
  delete wait;
}

void deliver(Napi::Env env, Napi::Function, SharedWait* hooked) {
  // Without an environment, environmentEnds() has had its turn and owns nothing any more.
  if (env == nullptr) return;
  SharedWait wait = *hooked;
  napi_remove_env_cleanup_hook(wait->env, environmentEnds, hooked);
  delete hooked;
  Napi::HandleScope scope(env);
  if (wait->fd.valid()) {
    wait->deferred.Resolve(Napi::Number::New(env, wait->fd.get()));
    wait->fd.release();
  } else {
    wait->deferred.Reject(systemError(env, wait->error).Value());
  }
}

void waitFor(const std::string& path, const SharedWait& wait, SharedWait* hooked) {
  try {
    wait->fd.reset(acquire(path, LOCK_EX));
  } catch (const SystemError& error) {
    wait->error = error;
  } catch (...) {
    wait->error = SystemError{ENOMEM, "lock"};
  }
  std::lock_guard<std::mutex> held(wait->mutex);
  if (wait->ended) return wait->fd.reset();
  wait->back.NonBlockingCall(hooked, deliver);
  wait->back.Release();
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
  auto wait = std::make_shared<Wait>(env);
  Napi::Promise promise = wait->deferred.Promise();
  Napi::Function nothing = Napi::Function::New(env, [](const Napi::CallbackInfo&) {});
  wait->back = Napi::ThreadSafeFunction::New(env, nothing, "weft lock", 0, 1);
  // Hooks run last in, first out: ours before the one that ends the thread-safe function.
  auto* hooked = new SharedWait(wait);
  napi_add_env_cleanup_hook(env, environmentEnds, hooked);
  try {
    std::thread(waitFor, path, wait, hooked).detach();
  } catch (const std::system_error&) {
    napi_remove_env_cleanup_hook(env, environmentEnds, hooked);
    delete hooked;
    wait->back.Release();
    throw SystemError{EAGAIN, "pthread_create"};
  }
  return promise;
}

}  // namespace weft
