// What the agent is asked: agent/protocol.ts describes it.
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "launcher.h"

extern char **environ;

namespace {

// Two lengths: of all that follows, and of the words in it.
constexpr size_t kHead = 8;
// An ordinary request; memory that is not touched costs nothing.
constexpr size_t kOrdinary = 64 * 1024;

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

// Which namespace CNI_NETNS leads to from here: /proc/self and the like mean another one to the agent.
void look_at_netns(char *text) {
  const char *path = getenv("CNI_NETNS");
  struct stat there = {};
  char *at = text;
  if (path != nullptr && *path != '\0' && stat(path, &there) == 0) put_file(&at, there);
  *at = '\0';
}

char *append(char *at, const char *text) { return static_cast<char *>(mempcpy(at, text, strlen(text) + 1)); }

// At least one byte more than there is.
bool enlarge(Request *request) {
  const size_t room = request->room * 2;
  char *larger = static_cast<char *>(malloc(room));
  if (larger == nullptr) return false;
  memcpy(larger, request->bytes, request->length);
  if (request->room > kOrdinary) free(request->bytes);
  request->bytes = larger;
  request->room = room;
  return true;
}

}  // namespace

bool begin_request(const Self &self, const char *identity, Request *request) {
  static char ordinary[kOrdinary];
  char netns[64];
  look_at_netns(netns);
  const char *const words[] = {identity, netns, self.called_as, self.file};
  size_t length = kHead;
  for (const char *word : words) length += strlen(word) + 1;
  for (char **entry = environ; *entry != nullptr; entry++) length += strlen(*entry) + 1;
  request->room = kOrdinary;
  while (request->room <= length) request->room *= 2;
  request->bytes = request->room == kOrdinary ? ordinary : static_cast<char *>(malloc(request->room));
  if (request->bytes == nullptr) return false;
  char *at = request->bytes + kHead;
  for (const char *word : words) at = append(at, word);
  for (char **entry = environ; *entry != nullptr; entry++) at = append(at, *entry);
  request->input = request->length = length;
  return true;
}

size_t own_identity(const Self &self, char *text) {
  char path[PATH_MAX + 16];
  strcpy(stpcpy(path, self.home), "/weft-core.js");
  struct stat bundle = {}, place = {};
  if (stat(path, &bundle) != 0) return 0;
  char *at = stpcpy(text, "weft 2 ");
  put_file(&at, bundle);
  put(&at, static_cast<uint64_t>(bundle.st_mtim.tv_sec), '.');
  put(&at, static_cast<uint64_t>(bundle.st_mtim.tv_nsec), ' ');
  put(&at, static_cast<uint64_t>(bundle.st_size), ' ');
  const char *const places[] = {"/proc/self/ns/net", "/proc/self/ns/mnt", "/"};
  for (const char *name : places) {
    if (stat(name, &place) != 0) return 0;
    put_file(&at, place);
  }
  *at = '\0';
  return static_cast<size_t>(at - text);
}

bool finish_request(Request *request) {
  request->read = true;
  for (;;) {
    if (request->length == request->room && !enlarge(request)) return false;
    const ssize_t count = read(STDIN_FILENO, request->bytes + request->length, request->room - request->length);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EAGAIN) {
      pollfd waiting = {STDIN_FILENO, POLLIN, 0};
      poll(&waiting, 1, -1);
      continue;
    }
    if (count <= 0) break;
    request->length += static_cast<size_t>(count);
    if (request->length - request->input > kLongestInput) break;
  }
  const uint32_t sizes[2] = {static_cast<uint32_t>(request->length - kHead), static_cast<uint32_t>(request->input - kHead)};
  memcpy(request->bytes, sizes, sizeof sizes);
  return true;
}
