// Steps for a container that somebody else watches (runtime/oci): its first process is handed over to whoever asked for it, a shim of
// containerd or conmon, and what it waits for is a connection, not the monitor, which has gone by then.
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "monitor.h"

namespace {

// Opened before `clone`, inherited by the container's first process.
int gate = -1;
int console = -1;

int unix_socket(const char *path, sockaddr_un *address) {
  if (strlen(path) >= sizeof address->sun_path) {
    errno = ENAMETOOLONG;
    return -1;
  }
  *address = {};
  address->sun_family = AF_UNIX;
  strcpy(address->sun_path, path);
  return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

int open_gate(const char *path) {
  sockaddr_un address;
  gate = unix_socket(path, &address);
  if (gate < 0) return errno;
  return bind(gate, reinterpret_cast<sockaddr *>(&address), sizeof address) == 0 && listen(gate, 1) == 0 ? 0 : errno;
}

int open_console(const char *path) {
  sockaddr_un address;
  console = unix_socket(path, &address);
  if (console < 0) return errno;
  return connect(console, reinterpret_cast<sockaddr *>(&address), sizeof address) == 0 ? 0 : errno;
}

int join(const char *kind, const char *path) {
  const int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return errno;
  const int error = setns(file, static_cast<int>(namespace_flag(kind))) == 0 ? 0 : errno;
  close(file);
  return error;
}

// What was handed over as 4 and above by the monitor is the command's as 3 and above.
int keep(int count) {
  for (int file = 3; file < 3 + count; file++) {
    if (dup2(file + 1, file) < 0) return errno;
  }
  return 0;
}

// Who is not root opens /dev/stdout by its name, too.
int give_streams(uid_t user) {
  for (int stream = 0; stream < 3; stream++) {
    struct stat found;
    // /dev/null stays the host's.
    if (fstat(stream, &found) != 0 || S_ISCHR(found.st_mode)) continue;
    if (fchown(stream, user, static_cast<gid_t>(-1)) != 0 && errno != EPERM && errno != EINVAL && errno != EROFS) return errno;
  }
  return 0;
}

// hook SECONDS INPUT COUNT ARGUMENT... VARIABLE...
int run_hook(const Step &step) {
  static char *words[Step::kMost + 2];
  const size_t arguments = static_cast<size_t>(number(step.argument(2)));
  if (step.count < 5 || arguments < 2 || arguments > step.count - 4) return EINVAL;
  size_t used = 0;
  for (size_t word = 0; word + 4 < step.count; word++) {
    if (word == arguments) words[used++] = nullptr;
    words[used++] = const_cast<char *>(step.argument(word + 3));
  }
  if (step.count - 4 == arguments) words[used++] = nullptr;
  words[used] = nullptr;
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return errno;
  const pid_t child = fork();
  if (child == 0) {
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    dup2(ends[0], 0);
    // An alarm stays over exec, and ends it.
    alarm(static_cast<unsigned>(number(step.argument(0))));
    // The first word is the program, the others are what it is called by and its arguments.
    execve(words[0], words + 1, words + arguments + 1);
    _exit(127);
  }
  close(ends[0]);
  if (child > 0) write_all(ends[1], step.argument(1), step.length(1));
  close(ends[1]);
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) < 0) return errno;
  if (WIFSIGNALED(status)) return WTERMSIG(status) == SIGALRM ? ETIMEDOUT : EINTR;
  return WEXITSTATUS(status) == 0 ? 0 : WEXITSTATUS(status) == 127 ? ENOENT : ECANCELED;
}

}  // namespace

int take_console() {
  const int taken = console;
  console = -1;
  return taken;
}

int wait_at_gate(int *channel) {
  // The monitor takes it for the beginning of the command, and goes.
  close(*channel);
  do *channel = accept4(gate, nullptr, nullptr, SOCK_CLOEXEC);
  while (*channel < 0 && errno == EINTR);
  if (*channel < 0) return errno;
  close(gate);
  return 0;
}

// streams UID | gate PATH | console PATH | join KIND PATH | keep COUNT | hook SECONDS INPUT COUNT PROGRAM ARGUMENT... VARIABLE...
int run_handed_step(const Step &step) {
  const char *name = step.name();
  if (strcmp(name, "gate") == 0) return open_gate(step.argument(0));
  if (strcmp(name, "console") == 0) return open_console(step.argument(0));
  if (strcmp(name, "join") == 0) return join(step.argument(0), step.argument(1));
  if (strcmp(name, "keep") == 0) return keep(static_cast<int>(number(step.argument(0))));
  if (strcmp(name, "streams") == 0) return give_streams(static_cast<uid_t>(number(step.argument(0))));
  if (strcmp(name, "hook") == 0) return run_hook(step);
  return kUnknownStep;
}
