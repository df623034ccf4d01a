// Callers of the agent: taken in, greeted, heard and answered without Node's streams, whose JavaScript takes longer than all of this.
#include "listener.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>

namespace weft {

namespace {

// What epoll knows besides callers, which have the numbers that follow.
constexpr uint32_t kSocket = 0, kTimer = 1, kFirstCaller = 2;
// So much in one turn, so that a flood leaves time for the rest of the program: callers, and reads of one of them.
constexpr int kPerTurn = 64;
constexpr int kReadsPerTurn = 16;
constexpr size_t kRead = 64 * 1024;
// Two lengths: of all that follows, and of the words in it.
constexpr size_t kHead = 8;
// Words: identity, and at least three more.
constexpr uint32_t kFewestWords = 4;
// Of the patience, one turn of the timer.
constexpr uint32_t kTicks = 10;

int64_t milliseconds() {
  timespec now = {};
  clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return static_cast<int64_t>(now.tv_sec) * 1000 + now.tv_nsec / 1000000;
}

bool isLater() { return errno == EAGAIN || errno == EWOULDBLOCK; }

}  // namespace

std::string frameOf(char kind, int status, const std::string& text) {
  std::string frame(1, kind);
  const auto length = static_cast<uint32_t>(text.size() + (status < 0 ? 0 : 1));
  frame.append(reinterpret_cast<const char*>(&length), sizeof length);
  if (status >= 0) frame.push_back(static_cast<char>(status));
  return frame.append(text);
}

Listener::Listener(Fd socket, std::string identity, const Limits& limits)
    : socket_(std::move(socket)),
      identity_(std::move(identity)),
      greeting_(frameOf('H', -1, identity_)),
      limits_(limits),
      own_(standingOf("/proc/self")),
      next_(kFirstCaller) {
  buffer.resize(kRead);
  fd.reset(check(epoll_create1(EPOLL_CLOEXEC), "epoll_create1"));
  timer_.reset(check(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK), "timerfd_create"));
  epoll_event event = {};
  event.events = EPOLLIN;
  event.data.u32 = kSocket;
  check(epoll_ctl(fd.get(), EPOLL_CTL_ADD, socket_.get(), &event), "epoll_ctl");
  event.data.u32 = kTimer;
  check(epoll_ctl(fd.get(), EPOLL_CTL_ADD, timer_.get(), &event), "epoll_ctl");
}

Conversation* Listener::find(uint32_t caller) {
  const auto found = conversations_.find(caller);
  return found == conversations_.end() ? nullptr : found->second.get();
}

// What is called here may be JavaScript that ends conversations, or this listener: nothing is kept over a call.
bool Listener::drain() {
  epoll_event events[kPerTurn];
  const int count = epoll_wait(fd.get(), events, kPerTurn, 0);
  for (int i = 0; i < count && !closing; i++) {
    const uint32_t who = events[i].data.u32;
    Conversation* of = find(who);
    if (who == kSocket) takeIn();
    else if (who == kTimer) tick();
    else if (of == nullptr) continue;
    else if (of->stage == Conversation::kAsking) receive(who);
    else if (events[i].events & (EPOLLERR | EPOLLHUP)) drop(who);
    else flush(who, *of);
  }
  return true;
}

// All are greeted before the first is served: they wait for that with a bound.
void Listener::takeIn() {
  std::vector<uint32_t> greeted;
  for (int count = 0; count < kPerTurn && socket_.valid(); count++) {
    Fd taken(accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!taken.valid()) {
      if (errno == EINTR || errno == ECONNABORTED) continue;
      if (!isLater()) pause(true);
      break;
    }
    if (conversations_.size() >= limits_.callers) continue;
    while (next_ < kFirstCaller || conversations_.count(next_) > 0) next_++;
    const uint32_t caller = next_++;
    auto& of = conversations_[caller] = std::make_unique<Conversation>();
    of->fd = std::move(taken);
    of->heard = milliseconds();
    if (greet(caller, *of)) greeted.push_back(caller);
  }
  for (const uint32_t caller : greeted) {
    if (closing) return;
    receive(caller);
  }
}

bool Listener::greet(uint32_t caller, Conversation& of) {
  const std::string reason = objectionTo(of.fd.get(), own_, &of.pid);
  if (!reason.empty()) {
    refuse(caller, kStranger, "a caller was sent away: " + reason);
    return false;
  }
  // Into an empty buffer: whole or not at all. Who has given up meanwhile has shut it, and must not be served (bin/launcher/ask.cc).
  if (send(of.fd.get(), greeting_.data(), greeting_.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(greeting_.size())) {
    return true;
  }
  refuse(caller, kDeclined, "a caller went away before our greeting");
  return false;
}

void Listener::receive(uint32_t caller) {
  Conversation* of = find(caller);
  if (of == nullptr) return;
  for (int count = 0; count < kReadsPerTurn; count++) {
    const ssize_t size = recv(of->fd.get(), buffer.data(), buffer.size(), 0);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0 && isLater()) break;
    if (size <= 0) {
      refuse(caller, kDeclined, "a caller went away after our greeting: it is of another build, or stands elsewhere");
      return;
    }
    const std::string_view chunk(reinterpret_cast<const char*>(buffer.data()), static_cast<size_t>(size));
    if (gather(caller, *of, chunk) == kOver) return;
  }
  watch(caller, *of, EPOLLIN);
}

// Memory grows with what has arrived, not with what was announced. kOver: the conversation must not be touched any more.
Listener::Gathered Listener::gather(uint32_t caller, Conversation& of, std::string_view chunk) {
  if (held_ + chunk.size() > limits_.held) {
    refuse(caller, kOverload, "too many requests at once are too long");
    return kOver;
  }
  held_ += chunk.size();
  of.held += chunk.size();
  of.heard = milliseconds();
  const bool isFirst = of.in.empty();
  if (!isFirst) of.in.append(chunk);
  const std::string_view all = isFirst ? chunk : std::string_view(of.in);
  if (of.wanted == 0 && all.size() >= kHead && !readHead(caller, of, all)) return kOver;
  if (of.wanted != 0 && all.size() > of.wanted) {
    refuse(caller, kProtocol, "a caller does not keep to the protocol: bytes after the end of the request");
    return kOver;
  }
  if (of.wanted != 0 && all.size() == of.wanted) {
    request(caller, of, all);
    return kOver;
  }
  if (isFirst) of.in.assign(chunk);
  return kMore;
}

bool Listener::readHead(uint32_t caller, Conversation& of, std::string_view all) {
  uint32_t lengths[2];
  memcpy(lengths, all.data(), sizeof lengths);
  const auto [length, words] = lengths;
  std::string problem;
  if (length > limits_.longest) problem = "request of " + std::to_string(length) + " bytes";
  else if (words > length || words < kFewestWords) problem = std::to_string(words) + " bytes of words";
  if (!problem.empty()) {
    refuse(caller, kProtocol, "a caller does not keep to the protocol: " + problem);
    return false;
  }
  of.wanted = kHead + length;
  of.words = words;
  return true;
}

void Listener::request(uint32_t caller, Conversation& of, std::string_view all) {
  std::string_view words = all.substr(kHead, of.words);
  const std::string_view input = all.substr(kHead + of.words);
  if (words.back() != '\0') {
    refuse(caller, kProtocol, "a caller does not keep to the protocol: the last word has no end");
    return;
  }
  if (words.substr(0, words.find('\0')) != identity_) {
    refuse(caller, kDeclined, "a caller is of another build, or stands elsewhere");
    return;
  }
  words.remove_prefix(identity_.size() + 1);
  if (!words.empty()) words.remove_suffix(1);
  watch(caller, of, 0);
  of.stage = Conversation::kServed;
  tell([&](Napi::Env env) -> std::vector<napi_value> {
    return {Napi::Number::New(env, 0), Napi::Number::New(env, caller), Napi::String::New(env, words.data(), words.size()),
            Napi::String::New(env, input.data(), input.size()), Napi::Number::New(env, of.pid)};
  });
  if (Conversation* still = find(caller)) std::string().swap(still->in);
}

void Listener::write(uint32_t caller, const std::string& frame, bool last) {
  Conversation* of = find(caller);
  if (of == nullptr || of->stage == Conversation::kAnswering) return;
  of->out.append(frame);
  if (last) {
    of->stage = Conversation::kAnswering;
    of->heard = milliseconds();
  }
  flush(caller, *of);
}

void Listener::flush(uint32_t caller, Conversation& of) {
  size_t sent = 0;
  while (sent < of.out.size()) {
    const ssize_t size = send(of.fd.get(), of.out.data() + sent, of.out.size() - sent, MSG_NOSIGNAL);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0 && isLater()) break;
    if (size < 0) return drop(caller);
    sent += static_cast<size_t>(size);
  }
  if (sent > 0) of.heard = milliseconds();
  of.out.erase(0, sent);
  if (!of.out.empty()) watch(caller, of, EPOLLOUT);
  else if (of.stage == Conversation::kAnswering) drop(caller);
  else watch(caller, of, 0);
}

// A caller that is served is not watched: it is looked at when that matters.
bool Listener::isGone(uint32_t caller) {
  Conversation* of = find(caller);
  if (of == nullptr) return true;
  char byte;
  const ssize_t size = recv(of->fd.get(), &byte, 1, MSG_PEEK);
  if (size < 0 && (isLater() || errno == EINTR)) return false;
  if (size > 0) refuse(caller, kProtocol, "bytes after the end of a request");
  else drop(caller);
  return true;
}

void Listener::watch(uint32_t caller, Conversation& of, uint32_t events) {
  if (events != 0 && of.stage != Conversation::kServed) setTimer(true);
  if (events == of.watched) return;
  epoll_event event = {};
  event.events = events;
  event.data.u32 = caller;
  const int change = of.watched == 0 ? EPOLL_CTL_ADD : events == 0 ? EPOLL_CTL_DEL : EPOLL_CTL_MOD;
  if (epoll_ctl(fd.get(), change, of.fd.get(), &event) != 0) return refuse(caller, kOverload, "a caller cannot be watched");
  of.watched = events;
}

void Listener::refuse(uint32_t caller, Oddity why, const std::string& reason) {
  drop(caller);
  if (closing) return;
  tell([&](Napi::Env env) -> std::vector<napi_value> {
    return {Napi::Number::New(env, why), Napi::Number::New(env, caller), Napi::String::New(env, reason)};
  });
}

void Listener::drop(uint32_t caller) {
  const auto found = conversations_.find(caller);
  if (found == conversations_.end()) return;
  held_ -= found->second->held;
  conversations_.erase(found);
  if (paused_) pause(false);
  if (!socket_.valid() && conversations_.empty()) stop();
}

void Listener::pause(bool on) {
  if (!socket_.valid() || on == paused_) return;
  epoll_event event = {};
  event.events = on ? 0u : static_cast<uint32_t>(EPOLLIN);
  event.data.u32 = kSocket;
  paused_ = epoll_ctl(fd.get(), EPOLL_CTL_MOD, socket_.get(), &event) == 0 ? on : paused_;
  if (paused_) setTimer(true);
}

void Listener::setTimer(bool runs) {
  if (runs == ticks_) return;
  ticks_ = runs;
  const uint32_t period = runs ? std::max(limits_.patience / kTicks, 1u) : 0;
  const timespec turn = {period / 1000, static_cast<long>(period % 1000) * 1000000};
  const itimerspec times = {turn, turn};
  timerfd_settime(timer_.get(), 0, &times, nullptr);
}

// Runs as long as somebody is waited for.
void Listener::tick() {
  uint64_t turns;
  if (read(timer_.get(), &turns, sizeof turns) < 0) return;
  pause(false);
  const int64_t now = milliseconds();
  std::vector<uint32_t> late;
  bool waits = false;
  for (const auto& [caller, of] : conversations_) {
    if (of->stage == Conversation::kServed) continue;
    if (now - of->heard >= limits_.patience) late.push_back(caller);
    else waits = true;
  }
  setTimer(waits || paused_);
  for (const uint32_t caller : late) {
    const Conversation* of = find(caller);
    if (closing || of == nullptr) continue;
    const bool asks = of->stage == Conversation::kAsking;
    refuse(caller, kSlow, asks ? "a caller sent no whole request" : "a caller does not fetch its answer");
  }
}

void Listener::retire() {
  socket_.reset();
  std::vector<uint32_t> asking;
  for (const auto& [caller, of] : conversations_) {
    if (of->stage == Conversation::kAsking) asking.push_back(caller);
  }
  for (const uint32_t caller : asking) drop(caller);
  if (conversations_.empty()) stop();
}

}  // namespace weft
