// How a container is born: the steps before `clone`, and clone itself.
#pragma once

#include <sys/types.h>

#include "monitor.h"

// What the steps before `clone` ask of the monitor. Words point into the list of steps.
struct Wishes {
  static constexpr size_t kMost = 24;
  const char *cgroups[kMost];
  size_t cgroup_count = 0;
  const char *user_map = nullptr;
  const char *group_map = nullptr;
  bool deny_groups = false;
  // Its output is kept: `log` with the size in bytes at which a new file begins.
  uint64_t log_room = 0;
  // Its input stays open.
  bool input = false;
  // Standard streams are a terminal that a later step opens.
  bool terminal = false;
  // Standard streams are the monitor's own.
  bool inherit = false;
  // Once the command runs, or waits at the gate, the monitor goes: its child belongs to whoever gathers orphans above.
  bool alone = false;
  // memory.oom_control or memory.events of its cgroup.
  const char *oom_file = nullptr;
  // What is run when it has ended: a program's path and its arguments, ended by a null pointer.
  static constexpr size_t kMostEnded = 8;
  const char *ended[kMostEnded + 1] = {};
};

struct Born {
  pid_t pid = -1;
  // In the parent.
  int channel = -1;
  int input = -1;
  int output = -1;
  int errors = -1;
};

// Runs the steps before `clone`, and it. 0 or an errno; `program->index()` is the step that failed. In the child it does not return.
int give_birth(Program *program, Wishes *wishes, Born *born);
