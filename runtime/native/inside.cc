// The container's first process, from its birth to its command.
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "monitor.h"

namespace {

constexpr const char *kDefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
// linux/close_range.h
constexpr unsigned kCloseOnExec = 4;

const char *path_of(char *const environment[]) {
  for (; *environment != nullptr; environment++) {
    if (strncmp(*environment, "PATH=", 5) == 0) return *environment + 5;
  }
  return kDefaultPath;
}

// Becomes the program; or, where there is no environment, only says whether it could.
int try_program(const char *path, char *const command[], char *const environment[]) {
  struct stat found;
  if (environment != nullptr) {
    execve(path, command, environment);
    return errno;
  }
  if (stat(path, &found) != 0) return errno;
  if (!S_ISREG(found.st_mode)) return EACCES;
  return access(path, X_OK) == 0 ? 0 : errno;
}

// As execvpe(3), which may allocate. Returns an errno: EACCES where something was found that may not run, else ENOENT.
int run_command(char *const command[], char *const environment[], const char *paths) {
  const char *name = command[0];
  if (strchr(name, '/') != nullptr || *name == '\0') {
    return try_program(name, command, environment);
  }
  int error = ENOENT;
  for (const char *path = paths;;) {
    const char *end = strchrnul(path, ':');
    char candidate[4096];
    const size_t length = static_cast<size_t>(end - path);
    if (length + strlen(name) + 2 <= sizeof candidate) {
      memcpy(candidate, path, length);
      candidate[length] = '/';
      strcpy(candidate + length + 1, name);
      const int found = try_program(candidate, command, environment);
      if (found == 0) return 0;
      if (found != ENOENT && found != ENOTDIR) error = found;
    }
    if (*end == '\0') return error;
    path = end + 1;
  }
}

// exec COUNT ARGUMENT... VARIABLE...
int execute(const Step &step) {
  static char *words[Step::kMost + 2];
  const size_t arguments = static_cast<size_t>(number(step.argument(0)));
  const size_t given = step.count - 2;
  if (arguments == 0 || arguments > given) return EINVAL;
  size_t used = 0;
  for (size_t word = 0; word < given; word++) {
    if (word == arguments) words[used++] = nullptr;
    words[used++] = const_cast<char *>(step.argument(word + 1));
  }
  if (given == arguments) words[used++] = nullptr;
  words[used] = nullptr;
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  return run_command(words, words + arguments + 1, path_of(words + arguments + 1));
}

// look COMMAND PATH: whether the command is there, while somebody waits who can be told.
int look(const Step &step) {
  char *command[] = {const_cast<char *>(step.argument(0)), nullptr};
  return run_command(command, nullptr, step.count > 2 ? step.argument(1) : kDefaultPath);
}

// The monitor says when: the network is there, or it is to start now.
int await_start(int channel) {
  if (!send_note(channel, {'w', 0, 0})) return errno;
  Note note;
  // Its end means that nobody wants this container any more.
  if (receive_note(channel, &note, nullptr) != 1 || note.kind != 'g') _exit(1);
  return 0;
}

int fork_init(int channel) {
  const pid_t child = fork();
  if (child < 0) return errno;
  if (child == 0) return 0;
  close(channel);
  be_init(child);
}

int run_step(const Step &step, int *channel) {
  const char *name = step.name();
  if (strcmp(name, "exec") == 0) return execute(step);
  if (strcmp(name, "await") == 0) return await_start(*channel);
  if (strcmp(name, "look") == 0) return look(step);
  if (strcmp(name, "at-gate") == 0) return wait_at_gate(channel);
  if (strcmp(name, "init") == 0) return fork_init(*channel);
  if (strcmp(name, "terminal") == 0) return take_terminal(*channel, step);
  if (strcmp(name, "unshare") == 0) return unshare(static_cast<int>(namespace_flag(step.argument(0)))) == 0 ? 0 : errno;
  if (strcmp(name, "pause") == 0) {
    close(*channel);
    be_init(0);
  }
  int result = enter_step(step);
  if (result == kUnknownStep) result = run_handed_step(step);
  if (result == kUnknownStep) result = run_file_step(step);
  if (result == kUnknownStep) result = run_mount_step(step);
  if (result == kUnknownStep) result = run_identity_step(step);
  return result == kUnknownStep ? ENOSYS : result;
}

}  // namespace

void run_inside(Program *program, int channel) {
  // Nothing that the monitor holds may be left open in the command.
  syscall(SYS_close_range, 3, ~0U, kCloseOnExec);
  Note note;
  // The monitor has written the maps and the cgroups.
  if (receive_note(channel, &note, nullptr) != 1) _exit(1);
  static Step step;
  while (program->next(&step)) {
    if (const int error = run_step(step, &channel)) {
      send_note(channel, {'f', program->index(), error});
      _exit(error == ENOENT ? 127 : 126);
    }
  }
  send_note(channel, {'f', program->index(), ENOEXEC});
  _exit(126);
}

// terminal ROWS COLUMNS [UID]
int take_terminal(int channel, const Step &step) {
  const int master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (master < 0) return errno;
  int unlocked = 0;
  if (ioctl(master, TIOCSPTLCK, &unlocked) != 0) return errno;
  // linux/tty.h TIOCGPTPEER: no path to be looked up, so none can be put in its place.
  const int slave = ioctl(master, 0x5441, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (slave < 0) return errno;
  const winsize size = {static_cast<unsigned short>(number(step.argument(0))), static_cast<unsigned short>(number(step.argument(1))), 0, 0};
  ioctl(slave, TIOCSWINSZ, &size);
  // Who is not root opens it by its name, too.
  if (step.count > 3 && fchown(slave, static_cast<uid_t>(number(step.argument(2))), static_cast<gid_t>(-1)) != 0) return errno;
  setsid();
  if (ioctl(slave, TIOCSCTTY, 0) != 0) return errno;
  for (int stream = 0; stream < 3; stream++) {
    if (dup2(slave, stream) < 0) return errno;
  }
  const int console = take_console();
  if (!send_note(console >= 0 ? console : channel, {'t', 0, 0}, master)) return errno;
  if (console >= 0) close(console);
  close(master);
  close(slave);
  return 0;
}
