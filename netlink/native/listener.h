// A Unix socket on the event loop that takes one request from each connection: agent/protocol.ts has the format.
#pragma once

#include "peer.h"
#include "watched.h"

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

namespace weft {

// Why a caller was not served: the words are in netlink/listener.ts, in this order.
enum Oddity : uint32_t { kStranger = 1, kDeclined, kProtocol, kSlow, kOverload };

struct Limits {
  // Callers at once.
  uint32_t callers;
  // Bytes of requests at once, and of one request without its head.
  uint32_t held, longest;
  // Milliseconds for a request to arrive, and for an answer to be fetched, without a byte in between.
  uint32_t patience;
};

// One caller, from accept to close.
struct Conversation {
  enum Stage { kAsking, kServed, kAnswering };
  Fd fd;
  pid_t pid = 0;
  Stage stage = kAsking;
  // What came of a request that did not come in one piece; how long it is with its head, 0 as long as that is not known; its words.
  std::string in;
  size_t wanted = 0, words = 0;
  // Bytes that count as held until the end of the connection.
  size_t held = 0;
  // What could not be sent yet.
  std::string out;
  // What epoll tells of it, 0 when it is not asked.
  uint32_t watched = 0;
  // Milliseconds of CLOCK_MONOTONIC at the last byte.
  int64_t heard = 0;
};

// Its descriptor is an epoll of its own: a caller whose request is there when it is taken in costs no registration at all.
class Listener : public Watched {
 public:
  Listener(Fd socket, std::string identity, const Limits& limits);
  bool drain() override;
  Listener* listener() override { return this; }

  // A frame for a caller; `last`: the end, after which the connection is closed. Who is gone gets nothing.
  void write(uint32_t caller, const std::string& frame, bool last);
  void drop(uint32_t caller);
  bool isGone(uint32_t caller);
  // Takes in nobody any more, and ends those whose request is not there.
  void retire();

 private:
  enum Gathered { kMore, kOver };

  void takeIn();
  bool greet(uint32_t caller, Conversation& of);
  void receive(uint32_t caller);
  Gathered gather(uint32_t caller, Conversation& of, std::string_view chunk);
  bool readHead(uint32_t caller, Conversation& of, std::string_view all);
  void request(uint32_t caller, Conversation& of, std::string_view all);
  void flush(uint32_t caller, Conversation& of);
  void watch(uint32_t caller, Conversation& of, uint32_t events);
  void refuse(uint32_t caller, Oddity why, const std::string& reason);
  void tick();
  void setTimer(bool runs);
  void pause(bool on);
  Conversation* find(uint32_t caller);

  std::unordered_map<uint32_t, std::unique_ptr<Conversation>> conversations_;
  Fd socket_;
  Fd timer_;
  const std::string identity_, greeting_;
  const Limits limits_;
  const Standing own_;
  size_t held_ = 0;
  uint32_t next_;
  bool ticks_ = false;
  // No descriptors are left: callers wait in the queue.
  bool paused_ = false;
};

// Kind, length in four bytes of this machine's order, contents: a status in one byte where there is one, then the text.
std::string frameOf(char kind, int status, const std::string& text);

}  // namespace weft
