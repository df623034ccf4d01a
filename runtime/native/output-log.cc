// runtime/container/log.ts reads what is written here.
#include "output-log.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "monitor.h"

void OutputLog::keep(uint64_t room, char kind, const char *data, size_t length) {
  if (file_ >= 0 && size_ > room) {
    close(file_);
    rename("log", "log.1");
    file_ = -1;
  }
  if (file_ < 0) {
    file_ = open("log", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    size_ = 0;
  }
  char header[13] = {kind};
  const uint32_t size = static_cast<uint32_t>(length);
  const uint64_t now = milliseconds();
  memcpy(header + 1, &size, sizeof size);
  memcpy(header + 5, &now, sizeof now);
  if (write_all(file_, header, sizeof header) && write_all(file_, data, length)) size_ += sizeof header + length;
  // A full disk: what follows must begin where a record does.
  else if (file_ >= 0 && ftruncate(file_, static_cast<off_t>(size_)) != 0) size_ = UINT64_MAX;
}
