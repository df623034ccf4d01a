// Who is at the other end of a Unix socket, and where it stands.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <string>

namespace weft {

// Network namespace, mount namespace and root folder of a process.
struct Standing {
  struct Place {
    dev_t device;
    ino_t inode;
  };
  Place places[3];
  bool operator==(const Standing& other) const;
};

// Of the process whose folder in /proc is given. Throws SystemError.
Standing standingOf(const char* proc);

// Why the process that has connected is no caller of ours; empty when it is: root, who stands where `own` says. `pid`: its number.
std::string objectionTo(int fd, const Standing& own, pid_t* pid);

}  // namespace weft
