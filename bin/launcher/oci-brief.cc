#include "oci-brief.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

namespace {

bool is(const char *one, const char *other) { return strcmp(one, other) == 0; }

// Of a folder, at most `size` - 1 bytes of a file; -1 when it cannot be read or is longer.
ssize_t read_text(int folder, const char *path, char *text, size_t size) {
  const int file = openat(folder, path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return -1;
  size_t length = 0;
  ssize_t count = 1;
  while (length < size && (count = read(file, text + length, size - length)) > 0) length += static_cast<size_t>(count);
  close(file);
  if (count < 0 || length == size) return -1;
  text[length] = '\0';
  return static_cast<ssize_t>(length);
}

}  // namespace

// Lines of a name and a value; the last one is `state`, whose value is all that follows.
bool Brief::read(int folder) {
  if (read_text(folder, "brief", text_, sizeof text_) < 0) return false;
  for (char *line = text_; state == nullptr;) {
    char *value = strpbrk(line, " \n");
    if (value == nullptr) return false;
    *value++ = '\0';
    if (is(line, "state")) {
      state = value;
      break;
    }
    char *end = strchr(value, '\n');
    if (end == nullptr) return false;
    *end = '\0';
    if (is(line, "pid")) pid = atoi(value);
    else if (is(line, "started")) started = value;
    else if (is(line, "freezer")) freezer = value;
    else if (is(line, "frozen")) frozen = value;
    else if (is(line, "group") && group_count < kMostGroups) groups[group_count++] = value;
    else if (is(line, "hooks") && is(value, "poststart")) poststart = true;
    else if (is(line, "hooks") && is(value, "poststop")) poststop = true;
    else return false;
    line = end + 1;
  }
  return pid > 0 && started != nullptr && (freezer == nullptr) == (frozen == nullptr);
}

// Whether it is there (proc(5)): field 3 its state, field 22 its start, which tells it from another of the same number.
bool Brief::runs() const {
  char path[32];
  char text[2048];
  snprintf(path, sizeof path, "/proc/%d/stat", static_cast<int>(pid));
  if (read_text(AT_FDCWD, path, text, sizeof text) <= 0) return false;
  // The name before it may have anything in it.
  const char *at = strrchr(text, ')');
  if (at == nullptr || at[1] != ' ' || strchr("ZX", at[2]) != nullptr) return false;
  at += 2;
  for (int field = 3; field < 22 && at != nullptr; field++) {
    at = strchr(at, ' ');
    if (at != nullptr) at++;
  }
  const size_t length = strlen(started);
  return at != nullptr && strncmp(at, started, length) == 0 && at[length] == ' ';
}

Status Brief::status(int folder) const {
  if (!runs()) return kStopped;
  struct stat gate;
  if (fstatat(folder, kGate, &gate, 0) == 0) return kCreated;
  char text[64];
  if (freezer == nullptr || read_text(AT_FDCWD, freezer, text, sizeof text) < 0) return kRunning;
  text[strcspn(text, "\n")] = '\0';
  return is(text, frozen) ? kPaused : kRunning;
}
