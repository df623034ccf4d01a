// What a container writes, kept for `weft logs`: two files in the current folder, `log` and, where that grew too long, `log.1` before it.
#pragma once

#include <stddef.h>
#include <stdint.h>

class OutputLog {
 public:
  // Adds a record: kind, length (32 bits), milliseconds since the epoch (64 bits), all little endian, and the bytes.
  // `room`: bytes after which a new file begins.
  void keep(uint64_t room, char kind, const char *data, size_t length);

 private:
  int file_ = -1;
  uint64_t size_ = 0;
};
