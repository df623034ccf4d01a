// Shared by every file of the native core: errors, descriptors, the handle table, worker tasks.
#pragma once

#include <napi.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace weft {

// A system call said no. Reaches JavaScript as an Error with `errno` and `syscall`, or with `code` where we have a
// word that is no errno (ENOTNS).
struct SystemError {
  int number;
  std::string call;
  std::string code = {};
};

class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(other.release()) {}
  Fd& operator=(Fd&& other) noexcept {
    if (this != &other) reset(other.release());
    return *this;
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd() { reset(); }

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  int release() {
    int fd = fd_;
    fd_ = -1;
    return fd;
  }
  void reset(int fd = -1) {
    if (fd_ >= 0) ::close(fd_);
    fd_ = fd;
  }

 private:
  int fd_ = -1;
};

// `call` returned -1: throw what errno says.
inline int check(int result, const char* call);

struct NetlinkSocket {
  Fd fd;
  uint32_t port = 0;
  uint32_t sequence = 0;
};

enum FamilyIndex : int32_t { kRoute = 0, kNetfilter = 1, kFamilies = 2 };

// A network namespace held open. Workers keep it alive by shared_ptr, so a close() while a call runs is safe.
struct Namespace {
  Fd fd;
  bool own = false;
  // One call at a time; the TypeScript side queues, this is the second lock on the door.
  std::mutex mutex;
  NetlinkSocket sockets[kFamilies];
};

// The deletion of a link, which is answered when the link is gone: see deletion.cc.
class Deletion {
 public:
  // Whether the message deletes a link; then which.
  bool read(const std::vector<uint8_t>& message);
  // Whether a message of the kernel says that the link is gone.
  bool isNotifiedBy(const uint8_t* message, size_t length) const;
  // Sends from a thread of its own; false: do it as usual.
  bool post(int fd, std::vector<uint8_t> message);
  bool posted() const { return fd_ >= 0; }
  // Until something can be received; returns errno or 0.
  int wait() const;
  // No notifications any more.
  void end();

 private:
  int index_ = 0;
  std::string name_;
  int fd_ = -1;
  std::shared_ptr<std::atomic<int>> error_ = std::make_shared<std::atomic<int>>(0);
};

class Watched;

// Per environment (main thread or worker thread), never global.
struct Addon {
  std::map<uint32_t, std::shared_ptr<Namespace>> namespaces;
  // Monitors and sockets.
  std::map<uint32_t, Watched*> watched;
  uint32_t next = 1;
};

// Runs `act` on another thread that has joined `ns`; directly where `ns` is the process's own.
// Neither the event loop's thread nor a pool thread ever changes its namespace. `lasting`: `act` leaves the thread's other
// namespaces as they are, so that one thread can do this again and again.
void inside(const Namespace& ns, const std::function<void()>& act, bool lasting = true);

// The open netlink socket of a family, created inside the namespace when first needed.
NetlinkSocket& netlinkSocket(Namespace& ns, int32_t family);
Fd openNetlink(const Namespace& ns, int32_t family, uint32_t* port, int receiveBuffer);

// Runs `run` on a pool thread, then `result` on the JavaScript thread; returns the promise.
Napi::Value runTask(Napi::Env env, std::function<void()> run, std::function<Napi::Value(Napi::Env)> result);

// As runTask, but where the argument `index` is true all of it on the JavaScript thread, here and now; then returns the result.
Napi::Value runHere(const Napi::CallbackInfo& info, size_t index, std::function<void()> run,
                    std::function<Napi::Value(Napi::Env)> result);

Napi::Error systemError(Napi::Env env, const SystemError& error);

// Arguments, each throwing a TypeError that names itself.
std::shared_ptr<Namespace> namespaceArgument(const Napi::CallbackInfo& info, size_t index);
// From its descriptor, which stays the caller's.
std::shared_ptr<Namespace> namespaceBehind(const Napi::CallbackInfo& info, size_t index);
std::string stringArgument(const Napi::CallbackInfo& info, size_t index, const char* name);
uint32_t numberArgument(const Napi::CallbackInfo& info, size_t index, const char* name);
std::vector<uint8_t> bytesArgument(const Napi::CallbackInfo& info, size_t index, const char* name);
std::vector<uint32_t> wordsArgument(const Napi::CallbackInfo& info, size_t index, const char* name);

Napi::Value openNamespace(const Napi::CallbackInfo& info);
Napi::Value closeNamespace(const Napi::CallbackInfo& info);
Napi::Value createNamespace(const Napi::CallbackInfo& info);
Napi::Value removeNamespace(const Napi::CallbackInfo& info);
Napi::Value readFile(const Napi::CallbackInfo& info);
Napi::Value writeFile(const Napi::CallbackInfo& info);
Napi::Value send(const Napi::CallbackInfo& info);
Napi::Value tryLock(const Napi::CallbackInfo& info);
Napi::Value waitLock(const Napi::CallbackInfo& info);
Napi::Value lookAtFolder(const Napi::CallbackInfo& info);
Napi::Value dateFolder(const Napi::CallbackInfo& info);
Napi::Value overwriteFile(const Napi::CallbackInfo& info);
Napi::Value claimName(const Napi::CallbackInfo& info);
Napi::Value retireFile(const Napi::CallbackInfo& info);
Napi::Value replaceFile(const Napi::CallbackInfo& info);
Napi::Value openMonitor(const Napi::CallbackInfo& info);
Napi::Value closeMonitor(const Napi::CallbackInfo& info);
Napi::Value openListener(const Napi::CallbackInfo& info);
Napi::Value closeListener(const Napi::CallbackInfo& info);
Napi::Value writeCaller(const Napi::CallbackInfo& info);
Napi::Value dropCaller(const Napi::CallbackInfo& info);
Napi::Value callerIsGone(const Napi::CallbackInfo& info);
Napi::Value placeOf(const Napi::CallbackInfo& info);
Napi::Value sendDatagram(const Napi::CallbackInfo& info);
Napi::Value checksumOffload(const Napi::CallbackInfo& info);
Napi::Value openSocket(const Napi::CallbackInfo& info);
Napi::Value closeSocket(const Napi::CallbackInfo& info);
Napi::Value bindSocket(const Napi::CallbackInfo& info);
Napi::Value connectSocket(const Napi::CallbackInfo& info);
Napi::Value sendSocket(const Napi::CallbackInfo& info);
Napi::Value socketName(const Napi::CallbackInfo& info);
Napi::Value setSocketOption(const Napi::CallbackInfo& info);
Napi::Value getSocketOption(const Napi::CallbackInfo& info);
Napi::Value filterSocket(const Napi::CallbackInfo& info);
Napi::Value tryPort(const Napi::CallbackInfo& info);
Napi::Value openTracefs(const Napi::CallbackInfo& info);
Napi::Value clocks(const Napi::CallbackInfo& info);
Napi::Value createTap(const Napi::CallbackInfo& info);
Napi::Value trimMemory(const Napi::CallbackInfo& info);
Napi::Value endProcess(const Napi::CallbackInfo& info);

inline int check(int result, const char* call) {
  if (result < 0) throw SystemError{errno, call};
  return result;
}

}  // namespace weft
