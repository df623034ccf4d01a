// The list of steps and the small things that everybody needs.
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "monitor.h"

bool Program::open(const char *path) {
  const int file = ::open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return false;
  struct stat found;
  if (fstat(file, &found) != 0) return false;
  size_ = static_cast<size_t>(found.st_size);
  void *mapped = mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file, 0);
  close(file);
  if (mapped == MAP_FAILED) return false;
  bytes_ = static_cast<const char *>(mapped);
  return true;
}

bool Program::next(Step *step) {
  uint16_t count;
  if (at_ + sizeof count > size_) return false;
  memcpy(&count, bytes_ + at_, sizeof count);
  at_ += sizeof count;
  if (count == 0 || count > Step::kMost) return false;
  for (size_t word = 0; word < count; word++) {
    uint32_t length;
    if (at_ + sizeof length > size_) return false;
    memcpy(&length, bytes_ + at_, sizeof length);
    at_ += sizeof length;
    if (length >= size_ - at_ || bytes_[at_ + length] != '\0') return false;
    step->words[word] = bytes_ + at_;
    step->lengths[word] = length;
    at_ += length + 1;
  }
  step->count = count;
  index_++;
  return true;
}

bool send_note(int channel, Note note, int descriptor) {
  iovec part = {&note, sizeof note};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (descriptor >= 0) {
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &descriptor, sizeof descriptor);
  }
  ssize_t sent;
  do sent = sendmsg(channel, &message, MSG_NOSIGNAL);
  while (sent < 0 && errno == EINTR);
  return sent == sizeof note;
}

int receive_note(int channel, Note *note, int *descriptor) {
  iovec part = {note, sizeof *note};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  if (descriptor != nullptr) *descriptor = -1;
  ssize_t received;
  do received = recvmsg(channel, &message, MSG_CMSG_CLOEXEC);
  while (received < 0 && errno == EINTR);
  if (received < 0) return errno == ECONNRESET ? 0 : -1;
  if (received != sizeof *note) return 0;
  cmsghdr *header = CMSG_FIRSTHDR(&message);
  if (header != nullptr && header->cmsg_type == SCM_RIGHTS && descriptor != nullptr) {
    memcpy(descriptor, CMSG_DATA(header), sizeof *descriptor);
  }
  return 1;
}

uint64_t namespace_flag(const char *kind) {
  struct Known {
    const char *name;
    uint64_t flag;
  };
  static constexpr Known kKnown[] = {{"net", CLONE_NEWNET}, {"pid", CLONE_NEWPID},       {"mnt", CLONE_NEWNS},
                                     {"uts", CLONE_NEWUTS}, {"ipc", CLONE_NEWIPC},       {"cgroup", 0x02000000},
                                     {"user", CLONE_NEWUSER}, {"time", 0x00000080}};
  for (const Known &known : kKnown) {
    if (strcmp(known.name, kind) == 0) return known.flag;
  }
  return 0;
}

uint64_t number(const char *text) {
  uint64_t value = 0;
  const bool hexadecimal = text[0] == '0' && text[1] == 'x';
  for (const char *digit = hexadecimal ? text + 2 : text; *digit != '\0'; digit++) {
    const unsigned worth = *digit >= '0' && *digit <= '9'                  ? *digit - '0'
                           : hexadecimal && *digit >= 'a' && *digit <= 'f' ? *digit - 'a' + 10
                                                                           : 99;
    if (worth > 15) break;
    value = value * (hexadecimal ? 16 : 10) + worth;
  }
  return value;
}

bool write_all(int fd, const void *data, size_t length) {
  const char *at = static_cast<const char *>(data);
  while (length > 0) {
    const ssize_t count = write(fd, at, length);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    at += count;
    length -= static_cast<size_t>(count);
  }
  return true;
}

uint64_t milliseconds() {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1000 + static_cast<uint64_t>(now.tv_nsec) / 1000000;
}

// linux/magic.h, which musl does not have.
constexpr long kProcMagic = 0x9fa0;

// What a bundle's mount laid over a kernel's file would take the words, and nothing would have been done.
static bool stands_where_named(int file, const char *path) {
  struct statfs found;
  return strncmp(path, "/proc/", 6) != 0 || (fstatfs(file, &found) == 0 && found.f_type == kProcMagic);
}

int write_file(const char *path, const char *data, size_t length, int flags) {
  const int file = open(path, O_WRONLY | O_CLOEXEC | flags, 0644);
  if (file < 0) return errno;
  int error = stands_where_named(file, path) ? 0 : EXDEV;
  if (error == 0 && !write_all(file, data, length)) error = errno;
  close(file);
  return error;
}

int enter_step(const Step &step) {
  // Opened by the monitor: inside a PID namespace the process has another number, or none.
  static int process = -1;
  if (strcmp(step.name(), "process") == 0) {
    process = static_cast<int>(syscall(SYS_pidfd_open, static_cast<pid_t>(number(step.argument(0))), 0));
    return process < 0 ? errno : 0;
  }
  if (strcmp(step.name(), "enter") != 0) return kUnknownStep;
  int kinds = 0;
  for (size_t kind = 0; kind + 1 < step.count; kind++) kinds |= static_cast<int>(namespace_flag(step.argument(kind)));
  return setns(process, kinds) == 0 ? 0 : errno;
}
