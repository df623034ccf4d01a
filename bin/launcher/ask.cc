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

// As MAX_INPUT in runtime/ambient.ts; what is longer is refused there.
constexpr size_t kLongestInput = 16u << 20;
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

void put(char **at, uint64_t number, char end) {
  char digits[24];
  size_t length = 0;
  do {
    digits[length++] = static_cast<char>('0' + number % 10);
    number /= 10;
  } while (number != 0);
  while (length > 0) *(*at)++ = digits[--length];
  *(*at)++ = end;
}

void put_file(char **at, const struct stat &file) {
  put(at, file.st_dev, ':');
  put(at, file.st_ino, ' ');
}

// What the greeting must be, to the byte: protocol, bundle (device, inode, time of change, size), and the network namespace, mount
// namespace and root folder of the caller. Returns its length, 0 when something cannot be looked at.
size_t own_identity(const Self &self, char *text) {
  char path[PATH_MAX + 16];
  snprintf(path, sizeof path, "%s/weft-core.js", self.home);
  struct stat bundle = {}, place = {};
  if (stat(path, &bundle) != 0) return 0;
  char *at = stpcpy(text, "weft 1 ");
  put_file(&at, bundle);
  put(&at, static_cast<uint64_t>(bundle.st_mtim.tv_sec), '.');
  put(&at, static_cast<uint64_t>(bundle.st_mtim.tv_nsec), ' ');
  put(&at, static_cast<uint64_t>(bundle.st_size), ' ');
  const char *const places[] = {"/proc/self/ns/net", "/proc/self/ns/mnt", "/"};
  for (const char *name : places) {
    if (stat(name, &place) != 0) return 0;
    put_file(&at, place);
  }
  return static_cast<size_t>(at - text);
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

// All of standard input; false when there is no memory for it. A closed one reads as empty.
bool read_input(Input *input) {
  size_t room = 64 * 1024;
  input->bytes = static_cast<char *>(malloc(room));
  input->read = true;
  while (input->bytes != nullptr) {
    const ssize_t count = read(STDIN_FILENO, input->bytes + input->length, room - input->length);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EAGAIN) {
      pollfd waiting = {STDIN_FILENO, POLLIN, 0};
      poll(&waiting, 1, -1);
      continue;
    }
    if (count <= 0) return true;
    input->length += static_cast<size_t>(count);
    if (input->length > kLongestInput) return true;
    if (input->length < room) continue;
    room *= 2;
    char *larger = static_cast<char *>(realloc(input->bytes, room));
    if (larger == nullptr) free(input->bytes);
    input->bytes = larger;
  }
  return false;
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

// True once every byte is in the agent's hands. Before that the agent cannot have begun.
bool hand_over(int fd, const void *bytes, size_t length, int64_t deadline) {
  for (const char *at = static_cast<const char *>(bytes); length > 0;) {
    const ssize_t count = send(fd, at, length, MSG_NOSIGNAL);
    if (count > 0) {
      at += count;
      length -= static_cast<size_t>(count);
      continue;
    }
    if (errno != EINTR && errno != EAGAIN) return false;
    const int64_t left = deadline - milliseconds();
    if (left <= 0) return false;
    pollfd waiting = {fd, POLLOUT, 0};
    poll(&waiting, 1, static_cast<int>(left));
  }
  return true;
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

// Which namespace CNI_NETNS leads to from here: /proc/self and the like mean another one to the agent.
void look_at_netns(char *text) {
  const char *path = getenv("CNI_NETNS");
  struct stat there = {};
  char *at = text;
  if (path != nullptr && *path != '\0' && stat(path, &there) == 0) put_file(&at, there);
  *at = '\0';
}

char *append(char *at, const char *text) { return static_cast<char *>(mempcpy(at, text, strlen(text) + 1)); }

// Length of the whole, length of the words, then the words (each ends with a zero byte): names, namespace, environment; then the input.
char *make_request(const Self &self, const Input &input, size_t *length) {
  char netns[64];
  look_at_netns(netns);
  size_t words = strlen(self.called_as) + strlen(self.file) + strlen(netns) + 3;
  for (char **entry = environ; *entry != nullptr; entry++) words += strlen(*entry) + 1;
  if (words > kLongestInput) return nullptr;
  *length = 8 + words + input.length;
  char *request = static_cast<char *>(malloc(*length));
  if (request == nullptr) return nullptr;
  const uint32_t sizes[2] = {static_cast<uint32_t>(*length - 8), static_cast<uint32_t>(words)};
  char *at = static_cast<char *>(mempcpy(request, sizes, sizeof sizes));
  at = append(at, self.called_as);
  at = append(at, self.file);
  at = append(at, netns);
  for (char **entry = environ; *entry != nullptr; entry++) at = append(at, *entry);
  memcpy(at, input.bytes, input.length);
  return request;
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

Asked converse(int fd, pid_t agent, const Self &self, Input *input, int *status) {
  // While this is read, the agent writes its greeting.
  char identity[512];
  const size_t known = own_identity(self, identity);
  Frame greeting = {};
  if (known == 0 || !await_greeting(fd, agent)) return not_taken('s');
  if (!read_frame(fd, &greeting, milliseconds() + kGreetingMilliseconds)) return not_taken('s');
  if (greeting.kind != 'H' || greeting.length != known || memcmp(greeting.bytes, identity, known) != 0) {
    return not_taken('o');
  }
  if (!read_input(input)) exit(fail("cannot read", "standard input", "out of memory"));
  if (input->length > kLongestInput) return not_taken('r');
  size_t length = 0;
  char *request = make_request(self, *input, &length);
  if (request == nullptr || !hand_over(fd, request, length, milliseconds() + kSendSeconds * 1000)) return not_taken('r');
  const Asked asked = await_answer(fd, status);
  if (asked != kAnswered) note_fallback(asked == kNotTaken ? 'r' : 'b');
  return asked;
}

}  // namespace

Asked ask_agent(const Self &self, Input *input, int *status) {
  ucred agent = {};
  const int fd = connect_agent(&agent);
  if (fd < 0) return not_taken('a');
  // A runtime that closes our standard output early is no reason to die.
  struct sigaction ignore = {}, before = {};
  ignore.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &ignore, &before);
  const Asked asked = converse(fd, agent.pid, self, input, status);
  sigaction(SIGPIPE, &before, nullptr);
  close(fd);
  return asked;
}
