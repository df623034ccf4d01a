// Netlink requests and their answers.
#include "common.h"

#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <cstring>

namespace weft {

namespace {

constexpr int kTimeoutSeconds = 20;
constexpr int kDumpAttempts = 8;
constexpr size_t kLargestRequest = 32u << 20;
constexpr int kReceiveBuffer = 1 << 20;
// One datagram of the kernel's; those of dumps have 32 KiB at most (af_netlink.c), a single answer a little more.
constexpr size_t kLargestAnswer = 1 << 20;
constexpr uint16_t kDump = NLM_F_ROOT | NLM_F_MATCH;

// What one sendto carries: a message, or a whole nf_tables batch. An op of several messages becomes several of these;
// they go one by one, so that none is sent after one of its op has failed.
struct Request {
  int32_t family;
  uint32_t op;
  // Number of the first message within its op.
  uint32_t message;
  std::vector<uint8_t> bytes;
};

struct Requests {
  std::vector<Request> list;
  // For each op.
  std::vector<std::vector<int32_t>> tolerated;
};

struct Answers {
  std::vector<uint8_t> data;
  // Four words a message: op, message within the op, offset in data, length.
  std::vector<uint32_t> index;
  // One errno (0: done) for each op that was run.
  std::vector<int32_t> status;
};

struct Header {
  nlmsghdr fields;
  size_t offset;
};

nlmsghdr readHeader(const uint8_t* at) {
  nlmsghdr header;
  memcpy(&header, at, sizeof header);
  return header;
}

// The messages of one request, or an empty list when a length does not fit.
std::vector<Header> split(const std::vector<uint8_t>& bytes) {
  std::vector<Header> found;
  size_t offset = 0;
  while (offset < bytes.size()) {
    if (bytes.size() - offset < sizeof(nlmsghdr)) return {};
    nlmsghdr header = readHeader(bytes.data() + offset);
    if (header.nlmsg_len < sizeof(nlmsghdr) || header.nlmsg_len > bytes.size() - offset) return {};
    found.push_back({header, offset});
    offset += NLMSG_ALIGN(static_cast<size_t>(header.nlmsg_len));
  }
  return found;
}

bool isBatch(int32_t family, const std::vector<Header>& messages) {
  return family == kNetfilter && messages.front().fields.nlmsg_type == NFNL_MSG_BATCH_BEGIN;
}

// NLM_F_DUMP shares its bits with NLM_F_REPLACE and NLM_F_EXCL, so the kind of message decides (rtnetlink.c). Only these are
// repeated when interrupted; the kernel dumps on either bit, so NLMSG_DONE ends any exchange.
bool isDump(int32_t family, const nlmsghdr& header) {
  if ((header.nlmsg_flags & kDump) != kDump) return false;
  return family == kNetfilter || (header.nlmsg_type & 3) == 2;
}

// The arrays that travel from TypeScript: see netlink/native.ts.
Requests readRequests(const Napi::CallbackInfo& info) {
  auto bytes = bytesArgument(info, 1, "bytes");
  auto table = wordsArgument(info, 2, "ops");
  auto tolerated = wordsArgument(info, 3, "tolerated");
  auto refuse = [&](const std::string& why) { return Napi::RangeError::New(info.Env(), "send: " + why); };
  if (table.size() % 4 != 0) throw refuse("ops: want four words for each");
  Requests requests;
  uint64_t toleratedAt = 0;
  for (size_t i = 0; i < table.size(); i += 4) {
    const uint32_t family = table[i], offset = table[i + 1], length = table[i + 2], count = table[i + 3];
    const std::string op = "op " + std::to_string(i / 4);
    if (family >= kFamilies) throw refuse(op + ": unknown family");
    if (length > kLargestRequest || static_cast<uint64_t>(offset) + length > bytes.size()) {
      throw refuse(op + ": offset and length leave the buffer");
    }
    if (toleratedAt + count > tolerated.size()) throw refuse(op + ": tolerated: too few words");
    requests.tolerated.emplace_back(tolerated.begin() + toleratedAt, tolerated.begin() + toleratedAt + count);
    toleratedAt += count;
    const uint32_t number = i / 4;
    std::vector<uint8_t> own(bytes.begin() + offset, bytes.begin() + offset + length);
    auto messages = split(own);
    if (messages.empty()) throw refuse(op + ": message is shorter than its header says");
    if (isBatch(static_cast<int32_t>(family), messages)) {
      // Without its end, nf_tables throws a batch away and acknowledges it all the same.
      if (messages.back().fields.nlmsg_type != NFNL_MSG_BATCH_END) throw refuse(op + ": the batch has no end");
      requests.list.push_back({static_cast<int32_t>(family), number, 0, std::move(own)});
      continue;
    }
    for (size_t m = 0; m < messages.size(); m++) {
      auto begin = own.begin() + messages[m].offset;
      requests.list.push_back({static_cast<int32_t>(family), number, static_cast<uint32_t>(m),
                               std::vector<uint8_t>(begin, begin + messages[m].fields.nlmsg_len)});
    }
  }
  return requests;
}

// Where this thread receives. Memory that is not written to is not there, so only what answers need is.
uint8_t* received() {
  thread_local const std::unique_ptr<uint8_t[]> buffer(new uint8_t[kLargestAnswer]);
  return buffer.get();
}

class Exchange {
 public:
  Exchange(Namespace& ns, Request& request, Answers& answers)
      : ns_(ns), request_(request), answers_(answers), messages_(split(request.bytes)) {}

  // Sends the request and collects its answers; returns errno or 0.
  int run() {
    batch_ = isBatch(request_.family, messages_);
    dump_ = !batch_ && isDump(request_.family, messages_.front().fields);
    deletes_ = request_.family == kRoute && deletion_.read(request_.bytes);
    const size_t data = answers_.data.size(), index = answers_.index.size();
    for (int attempt = 0; attempt < kDumpAttempts; attempt++) {
      answers_.data.resize(data);
      answers_.index.resize(index);
      NetlinkSocket& socket = netlinkSocket(ns_, request_.family);
      stamp(socket);
      int status = post(socket);
      if (status == 0) status = collect(socket);
      deletion_.end();
      // A timeout or an overrun leaves answers behind that belong to nobody: start afresh with the next request.
      if (broken_) socket.fd.reset();
      if (!dump_ || !interrupted_) return status;
    }
    return EINTR;
  }

 private:
  // Sequence numbers, and NLM_F_ACK on all but the messages of a batch, which say themselves what they want. A dump is
  // not acknowledged, but what only looks like one is (af_netlink.c, netlink_rcv_skb).
  void stamp(NetlinkSocket& socket) {
    first_ = socket.sequence + 1;
    pending_ = 0;
    failed_ = 0;
    broken_ = interrupted_ = false;
    done_.assign(messages_.size(), false);
    for (size_t i = 0; i < messages_.size(); i++) {
      nlmsghdr header = messages_[i].fields;
      header.nlmsg_seq = first_ + static_cast<uint32_t>(i);
      header.nlmsg_pid = 0;
      header.nlmsg_flags |= NLM_F_REQUEST;
      if (!batch_) header.nlmsg_flags |= NLM_F_ACK;
      if (header.nlmsg_flags & NLM_F_ACK) {
        pending_++;
      } else {
        done_[i] = true;
      }
      memcpy(request_.bytes.data() + messages_[i].offset, &header, sizeof header);
    }
    socket.sequence += static_cast<uint32_t>(messages_.size());
  }

  void makeRoom(const NetlinkSocket& socket) {
    int room = static_cast<int>(request_.bytes.size()) + 4096;
    if (room > 100 * 1024) setsockopt(socket.fd.get(), SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof room);
    // Each acknowledgement is an skb of about 800 bytes in the accounting.
    int acknowledgements = static_cast<int>(std::min<size_t>(messages_.size(), 200000)) * 1024;
    if (acknowledgements > kReceiveBuffer) {
      setsockopt(socket.fd.get(), SOL_SOCKET, SO_RCVBUFFORCE, &acknowledgements, sizeof acknowledgements);
    }
  }

  int post(NetlinkSocket& socket) {
    makeRoom(socket);
    if (deletes_ && deletion_.post(socket.fd.get(), request_.bytes)) return 0;
    sockaddr_nl kernel = {};
    kernel.nl_family = AF_NETLINK;
    for (;;) {
      ssize_t sent = sendto(socket.fd.get(), request_.bytes.data(), request_.bytes.size(), MSG_NOSIGNAL,
                            reinterpret_cast<sockaddr*>(&kernel), sizeof kernel);
      if (sent >= 0) return 0;
      if (errno == EINTR) continue;
      return errno;
    }
  }

  // One datagram into this thread's buffer; its length, or -1 with errno.
  ssize_t receive(const NetlinkSocket& socket, int flags) {
    for (;;) {
      sockaddr_nl from = {};
      socklen_t fromLength = sizeof from;
      const ssize_t size = recvfrom(socket.fd.get(), received(), kLargestAnswer, flags | MSG_TRUNC,
                                    reinterpret_cast<sockaddr*>(&from), &fromLength);
      if (size < 0 && errno == EINTR) continue;
      // Only the kernel answers; another process may not.
      if (size >= 0 && from.nl_pid != 0) continue;
      if (size <= static_cast<ssize_t>(kLargestAnswer)) return size;
      errno = EMSGSIZE;
      return -1;
    }
  }

  int collect(NetlinkSocket& socket) {
    // nf_tables has answered all of a batch when sendto returns; when it refuses, it may owe acknowledgements for ever.
    const int flags = batch_ ? MSG_DONTWAIT : 0;
    while (pending_ > 0) {
      if (deletion_.posted()) {
        const int problem = deletion_.wait();
        if (problem != 0) return broken_ = true, problem;
      }
      ssize_t size = receive(socket, flags);
      if (size < 0) {
        // Notifications of others have filled the buffer; the acknowledgement still comes.
        if (errno == ENOBUFS && deletion_.posted()) continue;
        if (errno == EAGAIN && batch_) return failed_ != 0 ? failed_ : EBADMSG;
        broken_ = true;
        if (errno == EAGAIN) return failed_ != 0 ? failed_ : ETIMEDOUT;
        // The receive buffer ran over. A dump is read again; for a change nobody can tell what was done.
        if (errno == ENOBUFS && dump_) interrupted_ = true;
        return failed_ != 0 ? failed_ : errno;
      }
      size_t left = static_cast<size_t>(size);
      const uint8_t* at = received();
      while (left >= sizeof(nlmsghdr)) {
        nlmsghdr header = readHeader(at);
        if (header.nlmsg_len < sizeof(nlmsghdr) || header.nlmsg_len > left) break;
        take(header, at, socket.port);
        size_t step = std::min<size_t>(NLMSG_ALIGN(static_cast<size_t>(header.nlmsg_len)), left);
        at += step;
        left -= step;
      }
    }
    return failed_;
  }

  void finish(uint32_t message) {
    if (done_[message]) return;
    done_[message] = true;
    pending_--;
  }

  void take(const nlmsghdr& header, const uint8_t* at, uint32_t port) {
    if (deletion_.posted() && deletion_.isNotifiedBy(at, header.nlmsg_len)) return finish(0);
    const uint32_t message = header.nlmsg_seq - first_;
    if (message >= messages_.size() || (header.nlmsg_pid != port && header.nlmsg_pid != 0)) return;
    if (header.nlmsg_flags & NLM_F_DUMP_INTR) interrupted_ = true;
    int32_t error = 0;
    switch (header.nlmsg_type) {
      case NLMSG_NOOP:
        return;
      case NLMSG_ERROR:
      case NLMSG_DONE:
        if (header.nlmsg_len >= NLMSG_HDRLEN + sizeof error) memcpy(&error, at + NLMSG_HDRLEN, sizeof error);
        if (error < 0) {
          if (failed_ == 0) {
            failed_ = -error;
            keep(message, at, header.nlmsg_len);
          }
          // The batch as a whole was refused.
          if (batch_ && message == 0) pending_ = 0;
        }
        if (pending_ > 0) finish(message);
        return;
      default:
        keep(message, at, header.nlmsg_len);
    }
  }

  void keep(uint32_t message, const uint8_t* at, uint32_t length) {
    const size_t offset = answers_.data.size();
    answers_.data.insert(answers_.data.end(), at, at + length);
    answers_.data.resize(NLMSG_ALIGN(answers_.data.size()));
    answers_.index.insert(answers_.index.end(), {request_.op, request_.message + message,
                                                     static_cast<uint32_t>(offset), length});
  }

  Namespace& ns_;
  Request& request_;
  Answers& answers_;
  const std::vector<Header> messages_;
  std::vector<bool> done_;
  uint32_t first_ = 0;
  size_t pending_ = 0;
  int failed_ = 0;
  bool batch_ = false, dump_ = false, interrupted_ = false, broken_ = false;
  Deletion deletion_;
  bool deletes_ = false;
};

template <typename Array, typename Word>
Array toArray(Napi::Env env, const std::vector<Word>& words) {
  Array array = Array::New(env, words.size());
  if (!words.empty()) memcpy(array.Data(), words.data(), words.size() * sizeof(Word));
  return array;
}

}  // namespace

Fd openNetlink(const Namespace& ns, int32_t family, uint32_t* port, int receiveBuffer) {
  Fd made;
  inside(ns, [&] {
    const int protocol = family == kRoute ? NETLINK_ROUTE : NETLINK_NETFILTER;
    made.reset(check(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol), "socket"));
  });
  const int on = 1;
  // Older kernels lack some of these; they cost words in an error, not correctness.
  for (int option : {NETLINK_EXT_ACK, NETLINK_CAP_ACK, NETLINK_GET_STRICT_CHK}) {
    setsockopt(made.get(), SOL_NETLINK, option, &on, sizeof on);
  }
  const timeval patience = {kTimeoutSeconds, 0};
  check(setsockopt(made.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), "setsockopt");
  check(setsockopt(made.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience), "setsockopt");
  if (setsockopt(made.get(), SOL_SOCKET, SO_RCVBUFFORCE, &receiveBuffer, sizeof receiveBuffer) < 0) {
    setsockopt(made.get(), SOL_SOCKET, SO_RCVBUF, &receiveBuffer, sizeof receiveBuffer);
  }
  sockaddr_nl address = {};
  address.nl_family = AF_NETLINK;
  socklen_t length = sizeof address;
  check(bind(made.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), "bind");
  check(getsockname(made.get(), reinterpret_cast<sockaddr*>(&address), &length), "getsockname");
  if (port != nullptr) *port = address.nl_pid;
  return made;
}

NetlinkSocket& netlinkSocket(Namespace& ns, int32_t family) {
  NetlinkSocket& socket = ns.sockets[family];
  if (!socket.fd.valid()) {
    socket.fd = openNetlink(ns, family, &socket.port, kReceiveBuffer);
  }
  return socket;
}

// send(handle, bytes, ops, tolerated, here): { data, index, status }, or a promise of it; see netlink/native.ts.
Napi::Value send(const Napi::CallbackInfo& info) {
  auto ns = namespaceArgument(info, 0);
  auto requests = std::make_shared<Requests>(readRequests(info));
  auto answers = std::make_shared<Answers>();
  return runHere(
      info, 4,
      [ns, requests, answers] {
        std::lock_guard<std::mutex> held(ns->mutex);
        answers->status.reserve(requests->tolerated.size());
        for (Request& request : requests->list) {
          if (request.op == answers->status.size()) answers->status.push_back(0);
          int32_t& status = answers->status[request.op];
          // An earlier message of this op has failed, and the op may.
          if (status != 0) continue;
          status = Exchange(*ns, request, *answers).run();
          const auto& tolerated = requests->tolerated[request.op];
          if (status != 0 && std::find(tolerated.begin(), tolerated.end(), status) == tolerated.end()) return;
        }
      },
      [answers](Napi::Env env) -> Napi::Value {
        Napi::Object result = Napi::Object::New(env);
        result.Set("data", toArray<Napi::Uint8Array>(env, answers->data));
        result.Set("index", toArray<Napi::Uint32Array>(env, answers->index));
        result.Set("status", toArray<Napi::Int32Array>(env, answers->status));
        return result;
      });
}

}  // namespace weft
