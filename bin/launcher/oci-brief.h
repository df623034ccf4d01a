// What `create` left for the launcher of a container (runtime/oci/brief.ts), and what has become of it.
#pragma once

#include <stddef.h>
#include <sys/types.h>

// As GATE in runtime/oci/bundle-steps.ts: a socket, there until the container is started.
constexpr const char *kGate = "start";

enum Status { kStopped, kCreated, kRunning, kPaused };

struct Brief {
  static constexpr size_t kMostGroups = 24;
  pid_t pid;
  const char *started;
  // Its file, and what stands in it while it is frozen; none where there is no freezer.
  const char *freezer;
  const char *frozen;
  // Folders of its control groups.
  const char *groups[kMostGroups];
  size_t group_count;
  // There are hooks for these moments.
  bool poststart;
  bool poststop;
  // What `state` prints, up to the process's number.
  const char *state;

  // Of the container whose state is in `folder`, into an empty one. False where there is none, or it has what is not known here.
  bool read(int folder);
  // Whether its first process is there.
  bool runs() const;
  Status status(int folder) const;

 private:
  char text_[64 * 1024];
};
