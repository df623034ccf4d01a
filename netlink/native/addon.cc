// Entry of the native core: exports, argument checks, worker tasks.
#include "common.h"

#include <cmath>
#include <cstring>

namespace weft {

namespace {

class Task : public Napi::AsyncWorker {
 public:
  Task(Napi::Env env, std::function<void()> run, std::function<Napi::Value(Napi::Env)> result)
      : Napi::AsyncWorker(env, "weft"),
        deferred(Napi::Promise::Deferred::New(env)),
        run_(std::move(run)),
        result_(std::move(result)) {}

  Napi::Promise::Deferred deferred;

 protected:
  void Execute() override {
    try {
      run_();
    } catch (const SystemError& error) {
      error_ = error;
      SetError(error.call);
    } catch (const std::exception& error) {
      error_ = SystemError{ENOMEM, error.what()};
      SetError(error.what());
    }
  }

  void OnOK() override {
    try {
      deferred.Resolve(result_(Env()));
    } catch (const Napi::Error& error) {
      deferred.Reject(error.Value());
    }
  }

  void OnError(const Napi::Error&) override { deferred.Reject(systemError(Env(), error_).Value()); }

 private:
  std::function<void()> run_;
  std::function<Napi::Value(Napi::Env)> result_;
  SystemError error_{0, ""};
};

// The C++ bodies throw SystemError where they run on the JavaScript thread; no other exception may cross into Node.
template <Napi::Value (*body)(const Napi::CallbackInfo&)>
Napi::Value guarded(const Napi::CallbackInfo& info) {
  try {
    return body(info);
  } catch (const SystemError& error) {
    throw systemError(info.Env(), error);
  } catch (const std::bad_alloc&) {
    throw Napi::Error::New(info.Env(), "out of memory");
  }
}

template <Napi::Value (*body)(const Napi::CallbackInfo&)>
void expose(Napi::Env env, Napi::Object& exports, const char* name) {
  exports.Set(name, Napi::Function::New(env, guarded<body>, name));
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  env.SetInstanceData(new Addon());
  expose<openNamespace>(env, exports, "openNamespace");
  expose<closeNamespace>(env, exports, "closeNamespace");
  expose<createNamespace>(env, exports, "createNamespace");
  expose<removeNamespace>(env, exports, "removeNamespace");
  expose<readFile>(env, exports, "readFile");
  expose<writeFile>(env, exports, "writeFile");
  expose<send>(env, exports, "send");
  expose<tryLock>(env, exports, "tryLock");
  expose<waitLock>(env, exports, "waitLock");
  expose<lookAtFolder>(env, exports, "lookAtFolder");
  expose<dateFolder>(env, exports, "dateFolder");
  expose<overwriteFile>(env, exports, "overwriteFile");
  expose<claimName>(env, exports, "claimName");
  expose<retireFile>(env, exports, "retireFile");
  expose<replaceFile>(env, exports, "replaceFile");
  expose<openMonitor>(env, exports, "openMonitor");
  expose<closeMonitor>(env, exports, "closeMonitor");
  expose<openListener>(env, exports, "openListener");
  expose<closeListener>(env, exports, "closeListener");
  expose<writeCaller>(env, exports, "writeCaller");
  expose<dropCaller>(env, exports, "dropCaller");
  expose<callerIsGone>(env, exports, "callerIsGone");
  expose<placeOf>(env, exports, "placeOf");
  expose<sendDatagram>(env, exports, "sendDatagram");
  expose<checksumOffload>(env, exports, "checksumOffload");
  expose<openSocket>(env, exports, "openSocket");
  expose<closeSocket>(env, exports, "closeSocket");
  expose<bindSocket>(env, exports, "bindSocket");
  expose<connectSocket>(env, exports, "connectSocket");
  expose<sendSocket>(env, exports, "sendSocket");
  expose<socketName>(env, exports, "socketName");
  expose<setSocketOption>(env, exports, "setSocketOption");
  expose<getSocketOption>(env, exports, "getSocketOption");
  expose<filterSocket>(env, exports, "filterSocket");
  expose<tryPort>(env, exports, "tryPort");
  expose<openTracefs>(env, exports, "openTracefs");
  expose<clocks>(env, exports, "clocks");
  expose<createTap>(env, exports, "createTap");
  expose<trimMemory>(env, exports, "trimMemory");
  expose<endProcess>(env, exports, "endProcess");
  return exports;
}

}  // namespace

Napi::Value runTask(Napi::Env env, std::function<void()> run, std::function<Napi::Value(Napi::Env)> result) {
  auto* task = new Task(env, std::move(run), std::move(result));
  Napi::Promise promise = task->deferred.Promise();
  task->Queue();
  return promise;
}

Napi::Value runHere(const Napi::CallbackInfo& info, size_t index, std::function<void()> run,
                    std::function<Napi::Value(Napi::Env)> result) {
  if (!info[index].IsBoolean() || !info[index].As<Napi::Boolean>().Value()) {
    return runTask(info.Env(), std::move(run), std::move(result));
  }
  run();
  return result(info.Env());
}

Napi::Error systemError(Napi::Env env, const SystemError& error) {
  std::string text = error.call + ": " + (error.code.empty() ? strerror(error.number) : error.code);
  Napi::Error made = Napi::Error::New(env, text);
  Napi::Object value = made.Value().As<Napi::Object>();
  value.Set("errno", error.number);
  value.Set("syscall", error.call);
  if (!error.code.empty()) value.Set("code", error.code);
  return made;
}

uint32_t numberArgument(const Napi::CallbackInfo& info, size_t index, const char* name) {
  if (info[index].IsNumber()) {
    double value = info[index].As<Napi::Number>().DoubleValue();
    if (value >= 0 && value <= UINT32_MAX && std::floor(value) == value) return static_cast<uint32_t>(value);
  }
  throw Napi::TypeError::New(info.Env(), std::string(name) + ": want a whole number from 0 to 4294967295");
}

std::shared_ptr<Namespace> namespaceArgument(const Napi::CallbackInfo& info, size_t index) {
  uint32_t handle = numberArgument(info, index, "namespace handle");
  auto* addon = info.Env().GetInstanceData<Addon>();
  auto found = addon->namespaces.find(handle);
  if (found == addon->namespaces.end()) throw SystemError{EBADF, "namespace is closed"};
  return found->second;
}

std::string stringArgument(const Napi::CallbackInfo& info, size_t index, const char* name) {
  if (!info[index].IsString()) throw Napi::TypeError::New(info.Env(), std::string(name) + ": want a string");
  std::string value = info[index].As<Napi::String>().Utf8Value();
  if (value.find('\0') != std::string::npos) {
    throw Napi::TypeError::New(info.Env(), std::string(name) + ": contains a NUL byte");
  }
  return value;
}

std::vector<uint8_t> bytesArgument(const Napi::CallbackInfo& info, size_t index, const char* name) {
  if (!info[index].IsTypedArray() ||
      info[index].As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array) {
    throw Napi::TypeError::New(info.Env(), std::string(name) + ": want a Uint8Array");
  }
  auto array = info[index].As<Napi::Uint8Array>();
  // A detached buffer has no memory.
  if (array.ElementLength() == 0 || array.Data() == nullptr) return {};
  return std::vector<uint8_t>(array.Data(), array.Data() + array.ElementLength());
}

std::vector<uint32_t> wordsArgument(const Napi::CallbackInfo& info, size_t index, const char* name) {
  if (!info[index].IsTypedArray() ||
      info[index].As<Napi::TypedArray>().TypedArrayType() != napi_uint32_array) {
    throw Napi::TypeError::New(info.Env(), std::string(name) + ": want a Uint32Array");
  }
  auto array = info[index].As<Napi::Uint32Array>();
  if (array.ElementLength() == 0 || array.Data() == nullptr) return {};
  return std::vector<uint32_t>(array.Data(), array.Data() + array.ElementLength());
}

}  // namespace weft

static Napi::Object Init(Napi::Env env, Napi::Object exports) { return weft::init(env, exports); }

NODE_API_MODULE(weft, Init)
