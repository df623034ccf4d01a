#include "birth.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace {

// linux/sched.h, struct clone_args as of CLONE_ARGS_SIZE_VER0.
struct CloneArguments {
  uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls;
};

struct Pipe {
  int read = -1;
  int write = -1;
  bool open() {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return false;
    read = ends[0];
    write = ends[1];
    return true;
  }
};

bool wish(const Step &step, Wishes *wishes) {
  const char *name = step.name();
  if (strcmp(name, "cgroup") == 0 && wishes->cgroup_count < Wishes::kMost) {
    wishes->cgroups[wishes->cgroup_count++] = step.argument(0);
  } else if (strcmp(name, "uids") == 0) wishes->user_map = step.argument(0);
  else if (strcmp(name, "gids") == 0) wishes->group_map = step.argument(0);
  else if (strcmp(name, "deny-groups") == 0) wishes->deny_groups = true;
  else if (strcmp(name, "log") == 0) wishes->log_room = number(step.argument(0));
  else if (strcmp(name, "input") == 0) wishes->input = true;
  else if (strcmp(name, "on-terminal") == 0) wishes->terminal = true;
  else if (strcmp(name, "inherit") == 0) wishes->inherit = true;
  else if (strcmp(name, "alone") == 0) wishes->alone = true;
  else if (strcmp(name, "oom") == 0) wishes->oom_file = step.argument(0);
  else if (strcmp(name, "ended") == 0 && step.count - 1 <= Wishes::kMostEnded) {
    for (size_t word = 0; word + 1 < step.count; word++) wishes->ended[word] = step.argument(word);
  } else return false;
  return true;
}

int write_map(pid_t pid, const char *file, const char *text) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/%s", pid, file);
  return write_file(path, text, strlen(text), 0);
}

// What only its parent may do for it.
int place(pid_t pid, const Wishes &wishes) {
  for (size_t cgroup = 0; cgroup < wishes.cgroup_count; cgroup++) {
    char path[4096];
    char text[16];
    snprintf(path, sizeof path, "%s/cgroup.procs", wishes.cgroups[cgroup]);
    snprintf(text, sizeof text, "%d", pid);
    if (const int error = write_file(path, text, strlen(text), 0)) return error;
  }
  int error = 0;
  if (wishes.user_map != nullptr) error = write_map(pid, "uid_map", wishes.user_map);
  if (error == 0 && wishes.deny_groups) error = write_map(pid, "setgroups", "deny");
  if (error == 0 && wishes.group_map != nullptr) error = write_map(pid, "gid_map", wishes.group_map);
  return error;
}

[[noreturn]] void be_child(Program *program, const Wishes &wishes, const Pipe &in, const Pipe &out, const Pipe &err, int channel) {
  if (!wishes.terminal && !wishes.inherit) {
    const int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
    dup2(in.read >= 0 ? in.read : nothing, 0);
    dup2(out.write, 1);
    dup2(err.write, 2);
  }
  run_inside(program, channel);
}

int clone_child(Program *program, const Step &step, const Wishes &wishes, Born *born) {
  CloneArguments arguments = {};
  arguments.exit_signal = SIGCHLD;
  for (size_t kind = 0; kind + 1 < step.count; kind++) {
    const uint64_t flag = namespace_flag(step.argument(kind));
    if (flag == 0) return EINVAL;
    arguments.flags |= flag;
  }
  int ends[2];
  Pipe in, out, err;
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return errno;
  if (!wishes.terminal && !wishes.inherit && ((wishes.input && !in.open()) || !out.open() || !err.open())) return errno;
  const pid_t pid = static_cast<pid_t>(syscall(SYS_clone3, &arguments, sizeof arguments));
  if (pid < 0) return errno;
  if (pid == 0) {
    close(ends[0]);
    be_child(program, wishes, in, out, err, ends[1]);
  }
  close(ends[1]);
  const int childs[] = {in.read, out.write, err.write};
  for (const int end : childs) {
    if (end >= 0) close(end);
  }
  const int ours[] = {in.write, out.read, err.read};
  for (const int end : ours) {
    if (end >= 0) fcntl(end, F_SETFL, O_NONBLOCK);
  }
  *born = {pid, ends[0], in.write, out.read, err.read};
  return 0;
}

}  // namespace

int give_birth(Program *program, Wishes *wishes, Born *born) {
  static Step step;
  const int folder = open(".", O_DIRECTORY | O_PATH | O_CLOEXEC);
  int home = -1;
  while (program->next(&step)) {
    if (strcmp(step.name(), "clone") == 0) {
      int error = clone_child(program, step, *wishes, born);
      forget_trees();
      // The container alone holds its mounts: what is unmounted on the host is not kept busy here, and nothing outlives it.
      if (error == 0 && home >= 0 && (setns(home, CLONE_NEWNS) != 0 || fchdir(folder) != 0)) error = errno;
      if (error == 0) error = place(born->pid, *wishes);
      if (error == 0 && !send_note(born->channel, {'m', 0, 0})) error = errno;
      if (error != 0 && born->pid > 0) kill(born->pid, SIGKILL);
      return error;
    }
    // A list that makes files alone.
    if (strcmp(step.name(), "done") == 0) return 0;
    if (wish(step, wishes)) continue;
    int error = kUnknownStep;
    if (strcmp(step.name(), "unshare") == 0) {
      const uint64_t flag = namespace_flag(step.argument(0));
      if (flag == CLONE_NEWNS) home = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
      error = unshare(static_cast<int>(flag)) == 0 ? 0 : errno;
    }
    if (error == kUnknownStep) error = enter_step(step);
    if (error == kUnknownStep) error = run_handed_step(step);
    if (error == kUnknownStep) error = run_file_step(step);
    if (error == kUnknownStep) error = run_mount_step(step);
    if (error == kUnknownStep) error = ENOSYS;
    if (error != 0) return error;
  }
  return ENOEXEC;
}
