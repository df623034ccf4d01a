// weft-monitor: the parent of one container (docs/decisions/0010-containers-by-a-monitor.md). It runs a list of steps that it was
// handed as a file, and knows nothing but the steps: all policy is TypeScript (runtime/container/steps.ts).
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

// One step: its name and its arguments, each ended by NUL in the file itself; `lengths` are without that.
struct Step {
  // Only as much of it as a step has words is ever touched.
  static constexpr size_t kMost = 65535;
  size_t count;
  const char *words[kMost];
  size_t lengths[kMost];

  const char *name() const { return words[0]; }
  // The n-th argument, counted from 0; the empty string where there is none.
  const char *argument(size_t n) const { return n + 1 < count ? words[n + 1] : ""; }
  size_t length(size_t n) const { return n + 1 < count ? lengths[n + 1] : 0; }
};

// The list of steps, as it lies in the file: for each a 16-bit count of words, for each word its 32-bit length, its bytes, a NUL;
// all in the machine's own order.
class Program {
 public:
  // False with errno when the file cannot be read or is no list of steps.
  bool open(const char *path);
  // Reads the next step; false at the end.
  bool next(Step *step);
  // The number of the step read last, from 0.
  int index() const { return index_; }

 private:
  const char *bytes_ = nullptr;
  size_t size_ = 0;
  size_t at_ = 0;
  int index_ = -1;
};

// What the monitor and the container's first process tell each other until its command runs.
// By the child 'w' waiting at `await`, 't' a terminal (with its descriptor), 'f' the step that failed; by the
// monitor 'm' (maps and cgroups are set), 'g' (start).
struct Note {
  char kind;
  int32_t step;
  int32_t error;
};
bool send_note(int channel, Note note, int descriptor = -1);
// 1, 0 at the end, -1 with errno. `descriptor`: -1 when none came.
int receive_note(int channel, Note *note, int *descriptor);

// Steps that any process may run: mounts, files, identity. Returns 0, an errno, or kUnknownStep.
constexpr int kUnknownStep = -1;
int run_file_step(const Step &step);
int run_mount_step(const Step &step);
// Closes what was taken and not placed.
void forget_trees();
int run_identity_step(const Step &step);
// process PID | enter KIND...: joins namespaces of that process; those of `pid` and `time` hold for children only.
int enter_step(const Step &step);

// Everything after `clone`: never returns. The exit status is seen by nobody but through the channel.
[[noreturn]] void run_inside(Program *program, int channel);

// Steps for a container that somebody else watches.
int run_handed_step(const Step &step);
// The connection that `console` opened, or -1; its caller closes it.
int take_console();
// Waits for somebody to connect to the gate: it is told of failures from then on. 0 or an errno.
int wait_at_gate(int *channel);

// Opens a terminal of the container's devpts, makes it the controlling one and standard streams, sends its other end. 0 or an errno.
int take_terminal(int channel, const Step &step);

// PID 1 that forwards signals to `child` and reaps; with `child` 0 it only reaps and ends by TERM.
[[noreturn]] void be_init(pid_t child);

// Namespace names to clone flags; 0 for a word that is none.
uint64_t namespace_flag(const char *kind);

// Decimal or, with 0x, hexadecimal digits; other characters end it.
uint64_t number(const char *text);
// All of it, or false with errno.
bool write_all(int fd, const void *data, size_t length);
// Since the epoch.
uint64_t milliseconds();
// Replaces a file's text; 0 or an errno.
int write_file(const char *path, const char *data, size_t length, int flags);
