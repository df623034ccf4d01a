// Asking the agent: agent/protocol.ts is the other side, and describes what is said.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "launcher.h"

extern char **environ;

namespace {

// An answer is a result and some lines of log; more is no agent of ours.
constexpr size_t kLongestFrame = 64u << 20;
// An agent that is there greets at once; one that does not is stopped, or drowning. WEFT_AGENT_WAIT is another bound.
constexpr int kGreetingMilliseconds = 200;
// The bound for one that is at work: where it waits for a processor, a start of Node would wait ten times as long.
constexpr int kBusyMilliseconds = 3000;
// It is looked at so often (milliseconds), and counts as idle when it was found so that many times in a row.
constexpr int kTurn = 10;
constexpr int kMostIdle = 5;
constexpr int kLongestWait = 60 * 1000;
// For handing over the request: it fits into the socket's buffer, or the agent reads it.
constexpr int kSendSeconds = 2;

int64_t milliseconds() {
  timespec now = {};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<int64_t>(now.tv_sec) * 1000 + now.tv_nsec / 1000000;
}

// What the caller asks for; 0 for nothing.
int asked_patience() {
  const char *asked = getenv("WEFT_AGENT_WAIT");
  const int wait = asked == nullptr ? 0 : atoi(asked);
  return wait > 0 && wait <= kLongestWait ? wait : 0;
}

// Whether the process runs, wants to run, or works in the kernel (proc(5), "state"): not one that is stopped, ends or sleeps.
bool is_at_work(pid_t pid) {
  char text[256];
  snprintf(text, sizeof text, "/proc/%d/stat", static_cast<int>(pid));
  const int file = open(text, O_RDONLY | O_CLOEXEC);
  if (file < 0) return false;
  const ssize_t length = read(file, text, sizeof text - 1);
  close(file);
  if (length <= 0) return false;
  text[length] = '\0';
  // The name before it may have anything in it.
  const char *end = strrchr(text, ')');
  return end != nullptr && end[1] == ' ' && (end[2] == 'R' || end[2] == 'D');
}

// Until something can be received, as long as it is worth the wait. The agent is asked about more than once: it may have been caught
// between two of its works.
bool await_greeting(int fd, pid_t agent) {
  const int asked = asked_patience();
  pollfd waiting = {fd, POLLIN, 0};
  if (poll(&waiting, 1, asked > 0 ? asked : kGreetingMilliseconds) > 0) return true;
  const int64_t start = milliseconds();
  for (int idle = 0; asked == 0 && idle < kMostIdle && milliseconds() - start < kBusyMilliseconds;) {
    idle = is_at_work(agent) ? 0 : idle + 1;
    if (poll(&waiting, 1, kTurn) > 0) return true;
  }
  return false;
}

// The socket, connected to a process of root's; -1 when there is none.
int connect_agent(ucred *peer) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  const char *folder = getenv("WEFT_RUN_DIR");
  if (folder == nullptr || *folder == '\0') folder = "/run/weft";
  const int length = snprintf(address.sun_path, sizeof address.sun_path, "%s/agent.sock", folder);
  if (length < 0 || static_cast<size_t>(length) >= sizeof address.sun_path) return -1;
  // Not blocking: a queue of callers that nobody takes in is as good as no agent.
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -1;
  socklen_t size = sizeof *peer;
  if (connect(fd, reinterpret_cast<sockaddr *>(&address), sizeof address) == 0 &&
      getsockopt(fd, SOL_SOCKET, SO_PEERCRED, peer, &size) == 0 && peer->uid == 0) {
    return fd;
  }
  close(fd);
  return -1;
}

// Exactly `length` bytes until `deadline` (milliseconds of CLOCK_MONOTONIC; -1: as long as it takes).
bool receive(int fd, void *into, size_t length, int64_t deadline) {
  for (char *at = static_cast<char *>(into); length > 0;) {
    const ssize_t count = recv(fd, at, length, 0);
    if (count > 0) {
      at += count;
      length -= static_cast<size_t>(count);
      continue;
    }
    if (count == 0 || (errno != EINTR && errno != EAGAIN)) return false;
    const int64_t left = deadline < 0 ? -1 : deadline - milliseconds();
    if (deadline >= 0 && left <= 0) return false;
    pollfd waiting = {fd, POLLIN, 0};
    poll(&waiting, 1, static_cast<int>(left));
  }
  return true;
}

// How many bytes are in the agent's hands when the time is over, or the agent. It cannot begin before it has all of them.
size_t hand_over(int fd, const char *bytes, size_t length, int64_t deadline) {
  size_t done = 0;
  while (done < length) {
    const ssize_t count = send(fd, bytes + done, length - done, MSG_NOSIGNAL);
    if (count > 0) {
      done += static_cast<size_t>(count);
      continue;
    }
    if (errno == EINTR) continue;
    const int64_t left = errno == EAGAIN ? deadline - milliseconds() : 0;
    if (left <= 0) break;
    pollfd waiting = {fd, POLLOUT, 0};
    poll(&waiting, 1, static_cast<int>(left));
  }
  return done;
}

struct Frame {
  char kind;
  uint32_t length;
  char *bytes;
};

// One frame: kind, length in four bytes of this machine's order, contents.
bool read_frame(int fd, Frame *frame, int64_t deadline) {
  char head[5];
  if (!receive(fd, head, sizeof head, deadline)) return false;
  frame->kind = head[0];
  memcpy(&frame->length, head + 1, sizeof frame->length);
  if (frame->length > kLongestFrame) return false;
  frame->bytes = static_cast<char *>(malloc(frame->length + 1));
  return frame->bytes != nullptr && receive(fd, frame->bytes, frame->length, deadline);
}

// Writes everything; a reader that went away is not an error of ours.
void print(int fd, const char *bytes, size_t length) {
  while (length > 0) {
    const ssize_t count = write(fd, bytes, length);
    if (count < 0 && errno == EAGAIN) {
      pollfd waiting = {fd, POLLOUT, 0};
      poll(&waiting, 1, -1);
      continue;
    }
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return;
    bytes += count;
    length -= static_cast<size_t>(count);
  }
}

Asked await_answer(int fd, int *status) {
  Asked broken = kBroken;
  Frame frame = {};
  while (read_frame(fd, &frame, -1)) {
    switch (frame.kind) {
      case 'R':
        return kNotTaken;
      case 'B':
        broken = kBrokenHalfDone;
        break;
      case 'E':
        print(STDERR_FILENO, frame.bytes, frame.length);
        break;
      case 'D':
        if (frame.length == 0) return broken;
        *status = static_cast<unsigned char>(frame.bytes[0]);
        print(STDOUT_FILENO, frame.bytes + 1, frame.length - 1);
        return kAnswered;
      default:
        return broken;
    }
    free(frame.bytes);
  }
  return broken;
}

Asked not_taken(char reason) {
  note_fallback(reason);
  return kNotTaken;
}

// Whether the agent that greets is ours: 0, else why it is not.
char read_greeting(int fd, const char *identity, size_t known) {
  Frame greeting = {};
  if (!read_frame(fd, &greeting, milliseconds() + kGreetingMilliseconds)) return 's';
  return greeting.kind == 'H' && greeting.length == known && memcmp(greeting.bytes, identity, known) == 0 ? 0 : 'o';
}

// The agent has the request, and has said who it is.
Asked taken(int fd, int *status) {
  const Asked asked = await_answer(fd, status);
  if (asked != kAnswered) note_fallback(asked == kNotTaken ? 'r' : 'b');
  return asked;
}

// No greeting came in time, which an agent writes in one piece before it serves. Once this is shut none can come any more. One that came in
// this very moment is of an agent that may serve us, and cannot tell its answer any more: its end is waited for.
Asked give_up(int fd, const char *identity, size_t known, int *status) {
  shutdown(fd, SHUT_RD);
  if (read_greeting(fd, identity, known) != 0) return not_taken('s');
  pollfd ended = {fd, 0, 0};
  poll(&ended, 1, -1);
  return taken(fd, status);
}

Asked converse(int fd, pid_t agent, const char *identity, size_t known, const Request &request, int *status) {
  // As much as it takes at once, which is all of an ordinary request; the rest when the agent has shown that it is there.
  const size_t sent = hand_over(fd, request.bytes, request.length, milliseconds());
  const size_t rest = request.length - sent;
  if (!await_greeting(fd, agent)) return rest > 0 ? not_taken('s') : give_up(fd, identity, known, status);
  if (const char reason = read_greeting(fd, identity, known)) return not_taken(reason);
  if (hand_over(fd, request.bytes + sent, rest, milliseconds() + kSendSeconds * 1000) < rest) return not_taken('r');
  return taken(fd, status);
}

}  // namespace

Asked ask_agent(const Self &self, Request *request, int *status) {
  char identity[kLongestIdentity];
  const size_t known = own_identity(self, identity);
  if (known == 0) return not_taken('s');
  if (!begin_request(self, identity, request)) return not_taken('r');
  ucred agent = {};
  const int fd = connect_agent(&agent);
  if (fd < 0) return not_taken('a');
  // From here on it wakes up, and is to find the whole request.
  if (!finish_request(request)) exit(fail("cannot read", "standard input", "out of memory"));
  if (request->length - request->input > kLongestInput) return not_taken('r');
  // A runtime that closes our standard output early is no reason to die.
  struct sigaction ignore = {}, before = {};
  ignore.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &ignore, &before);
  const Asked asked = converse(fd, agent.pid, identity, known, *request, status);
  if (asked == kAnswered) return asked;
  sigaction(SIGPIPE, &before, nullptr);
  close(fd);
  return asked;
}
