// Network namespaces: open, make, remove, and what is done inside one (files of /proc and /sys).
#include "common.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#include <condition_variable>
#include <cstring>
#include <thread>
#include <utility>

#ifndef NSFS_MAGIC
#define NSFS_MAGIC 0x6e736673
#endif

namespace weft {

namespace {

// Runs `act` on a thread of its own, whatever it does to its namespaces; exceptions come back.
void onThread(const std::function<void()>& act) {
  std::exception_ptr failure;
  try {
    std::thread thread([&] {
      try {
        act();
      } catch (...) {
        failure = std::current_exception();
      }
    });
    thread.join();
  } catch (const std::system_error&) {
    throw SystemError{EAGAIN, "pthread_create"};
  }
  if (failure) std::rethrow_exception(failure);
}

// A thread that stays, and goes into a namespace and back for whoever asks: starting a thread costs several times as much as waking
// one. It is in its own namespace whenever nobody asks, so that it keeps no container's namespace alive.
class Visitor {
 public:
  // False when it works for somebody else, or cannot be started; exceptions of `act` come back.
  static bool visit(int ns, const std::function<void()>& act) {
    // Never freed: the thread outlives everything that could free it.
    static Visitor* const visitor = new Visitor();
    return visitor->run(ns, act);
  }

 private:
  bool run(int ns, const std::function<void()>& act) {
    std::unique_lock<std::mutex> turn(turn_, std::try_to_lock);
    if (!turn.owns_lock()) return false;
    std::unique_lock<std::mutex> held(mutex_);
    if (!alive_ && !start()) return false;
    // Where it cannot come back to its own namespace, it ends.
    changed_.wait(held, [&] { return !alive_ || state_ == kIdle; });
    if (!alive_ && !start()) return false;
    ns_ = ns;
    act_ = &act;
    failure_ = nullptr;
    state_ = kAsked;
    changed_.notify_all();
    changed_.wait(held, [&] { return act_ == nullptr; });
    if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
    return true;
  }

  bool start() {
    try {
      alive_ = true;
      state_ = kIdle;
      std::thread([this] { serve(); }).detach();
    } catch (const std::system_error&) {
      alive_ = false;
    }
    return alive_;
  }

  void serve() {
    Fd own(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
    std::unique_lock<std::mutex> held(mutex_);
    for (bool home = true; home;) {
      changed_.wait(held, [&] { return state_ == kAsked; });
      held.unlock();
      try {
        check(own.get(), "open");
        check(setns(ns_, CLONE_NEWNET), "setns");
        (*act_)();
      } catch (...) {
        failure_ = std::current_exception();
      }
      held.lock();
      act_ = nullptr;
      held.unlock();
      changed_.notify_all();
      home = own.valid() && setns(own.get(), CLONE_NEWNET) == 0;
      held.lock();
      state_ = kIdle;
      alive_ = home;
      changed_.notify_all();
    }
  }

  enum State { kIdle, kAsked };

  // Whose turn it is to ask; and what is said to the thread.
  std::mutex turn_, mutex_;
  std::condition_variable changed_;
  State state_ = kIdle;
  bool alive_ = false;
  int ns_ = -1;
  const std::function<void()>* act_ = nullptr;
  std::exception_ptr failure_;
};

std::string descriptorPath(int fd) { return "/proc/self/fd/" + std::to_string(fd); }

struct Opened {
  std::shared_ptr<Namespace> ns = std::make_shared<Namespace>();
  struct stat status = {};
};

// What a FIFO, a socket or a device does on open never happens: the path is looked at with O_PATH first, and exactly
// what was looked at is opened.
void openAt(const std::string& path, Opened& out) {
  struct stat own = {};
  check(stat("/proc/thread-self/ns/net", &own), "stat");
  if (path.empty()) {
    out.ns->fd.reset(check(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC), "open"));
  } else {
    Fd looked(check(open(path.c_str(), O_PATH | O_CLOEXEC), "open"));
    struct statfs fs = {};
    check(fstatfs(looked.get(), &fs), "fstatfs");
    if (fs.f_type != NSFS_MAGIC) throw SystemError{EINVAL, "open", "ENOTNS"};
    const std::string again = descriptorPath(looked.get());
    out.ns->fd.reset(check(open(again.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK), "open"));
    if (ioctl(out.ns->fd.get(), NS_GET_NSTYPE) != CLONE_NEWNET) throw SystemError{EINVAL, "open", "ENOTNS"};
  }
  check(fstat(out.ns->fd.get(), &out.status), "fstat");
  out.ns->own = out.status.st_dev == own.st_dev && out.status.st_ino == own.st_ino;
}

bool startsWith(const std::string& text, const char* prefix) { return text.rfind(prefix, 0) == 0; }

std::string filePath(const Napi::CallbackInfo& info, size_t index) {
  std::string path = stringArgument(info, index, "path");
  bool climbs = path.find("/../") != std::string::npos ||
                (path.size() >= 3 && path.compare(path.size() - 3, 3, "/..") == 0);
  if ((!startsWith(path, "/proc/") && !startsWith(path, "/sys/")) || climbs) {
    throw Napi::TypeError::New(info.Env(), "path: want a file below /proc/ or /sys/ without '..'");
  }
  // /proc/net means the thread group leader's namespace; the thread that joined has its own view.
  if (startsWith(path, "/proc/net/")) path = "/proc/thread-self" + path.substr(5);
  return path;
}

// A sysfs mount shows the namespace it was mounted in, so one of our own is mounted where nobody else sees it.
void mountSysfs() {
  check(unshare(CLONE_NEWNS), "unshare");
  check(mount("", "/", nullptr, MS_REC | MS_PRIVATE, nullptr), "mount");
  check(mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr), "mount");
}

void withFile(const Namespace& ns, const std::string& path, int flags, const std::function<void(int)>& act) {
  const bool mounts = !ns.own && startsWith(path, "/sys/");
  inside(
      ns,
      [&] {
        if (mounts) mountSysfs();
        Fd file(check(open(path.c_str(), flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY), "open"));
        act(file.get());
      },
      !mounts);
}

}  // namespace

void inside(const Namespace& ns, const std::function<void()>& act, bool lasting) {
  if (ns.own) return act();
  if (lasting && Visitor::visit(ns.fd.get(), act)) return;
  onThread([&] {
    check(setns(ns.fd.get(), CLONE_NEWNET), "setns");
    act();
  });
}

std::shared_ptr<Namespace> namespaceBehind(const Napi::CallbackInfo& info, size_t index) {
  auto ns = std::make_shared<Namespace>();
  ns->fd.reset(check(fcntl(static_cast<int>(numberArgument(info, index, "namespace")), F_DUPFD_CLOEXEC, 0), "dup"));
  struct stat own = {}, found = {};
  check(stat("/proc/thread-self/ns/net", &own), "stat");
  check(fstat(ns->fd.get(), &found), "fstat");
  ns->own = found.st_dev == own.st_dev && found.st_ino == own.st_ino;
  return ns;
}

// openNamespace(path | undefined, here): { handle, fd, identity }, or a promise of it
Napi::Value openNamespace(const Napi::CallbackInfo& info) {
  std::string path;
  if (!info[0].IsUndefined()) {
    path = stringArgument(info, 0, "path");
    if (path.empty()) throw SystemError{ENOENT, "open"};
  }
  auto opened = std::make_shared<Opened>();
  return runHere(
      info, 1, [opened, path] { openAt(path, *opened); },
      [opened](Napi::Env env) -> Napi::Value {
        auto* addon = env.GetInstanceData<Addon>();
        uint32_t handle = addon->next++;
        addon->namespaces[handle] = opened->ns;
        Napi::Object result = Napi::Object::New(env);
        result.Set("handle", handle);
        result.Set("fd", opened->ns->fd.get());
        result.Set("identity",
                   std::to_string(opened->status.st_dev) + ":" + std::to_string(opened->status.st_ino));
        return result;
      });
}

// closeNamespace(handle): void. Idempotent; a call that still runs finishes first.
Napi::Value closeNamespace(const Napi::CallbackInfo& info) {
  info.Env().GetInstanceData<Addon>()->namespaces.erase(numberArgument(info, 0, "namespace handle"));
  return info.Env().Undefined();
}

// createNamespace(pin): Promise<void>
Napi::Value createNamespace(const Napi::CallbackInfo& info) {
  std::string pin = stringArgument(info, 0, "path");
  return runTask(
      info.Env(),
      [pin] {
        Fd file(check(open(pin.c_str(), O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0444), "open"));
        try {
          onThread([&] {
            check(unshare(CLONE_NEWNET), "unshare");
            check(mount("/proc/thread-self/ns/net", pin.c_str(), nullptr, MS_BIND, nullptr), "mount");
          });
        } catch (...) {
          unlink(pin.c_str());
          throw;
        }
      },
      [](Napi::Env env) -> Napi::Value { return env.Undefined(); });
}

// removeNamespace(pin): Promise<void>. A pin that is gone, or a plain file left by a crash, is no error.
Napi::Value removeNamespace(const Napi::CallbackInfo& info) {
  std::string pin = stringArgument(info, 0, "path");
  return runTask(
      info.Env(),
      [pin] {
        if (umount2(pin.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) < 0 && errno != EINVAL && errno != ENOENT) {
          throw SystemError{errno, "umount2"};
        }
        if (unlink(pin.c_str()) < 0 && errno != ENOENT) throw SystemError{errno, "unlink"};
      },
      [](Napi::Env env) -> Napi::Value { return env.Undefined(); });
}

// readFile(handle, path, here): string, or a promise of it
Napi::Value readFile(const Napi::CallbackInfo& info) {
  auto ns = namespaceArgument(info, 0);
  std::string path = filePath(info, 1);
  auto text = std::make_shared<std::string>();
  return runHere(
      info, 2,
      [ns, path, text] {
        withFile(*ns, path, O_RDONLY, [&](int fd) {
          char part[4096];
          ssize_t count;
          while ((count = read(fd, part, sizeof part)) != 0) {
            if (count < 0 && errno == EINTR) continue;
            text->append(part, check(static_cast<int>(count), "read"));
          }
        });
      },
      [text](Napi::Env env) -> Napi::Value { return Napi::String::New(env, *text); });
}

// writeFile(handle, path, data, here): undefined, or a promise of it. One write(2), as a sysctl wants it.
Napi::Value writeFile(const Napi::CallbackInfo& info) {
  auto ns = namespaceArgument(info, 0);
  std::string path = filePath(info, 1);
  std::string data = stringArgument(info, 2, "data");
  return runHere(
      info, 3,
      [ns, path, data] {
        withFile(*ns, path, O_WRONLY, [&](int fd) {
          ssize_t count = write(fd, data.data(), data.size());
          if (check(static_cast<int>(count), "write") != static_cast<int>(data.size())) {
            throw SystemError{EIO, "write"};
          }
        });
      },
      [](Napi::Env env) -> Napi::Value { return env.Undefined(); });
}

}  // namespace weft
