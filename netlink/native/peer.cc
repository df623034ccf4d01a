// Unix sockets: who has connected.
#include "peer.h"

#include "common.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

namespace weft {

bool Standing::operator==(const Standing& other) const {
  for (size_t i = 0; i < 3; i++) {
    if (places[i].device != other.places[i].device || places[i].inode != other.places[i].inode) return false;
  }
  return true;
}

Standing standingOf(const char* proc) {
  Standing standing = {};
  const char* const names[] = {"ns/net", "ns/mnt", "root/"};
  for (size_t i = 0; i < 3; i++) {
    char path[64];
    struct stat place = {};
    snprintf(path, sizeof path, "%s/%s", proc, names[i]);
    check(stat(path, &place), "stat");
    standing.places[i] = {place.st_dev, place.st_ino};
  }
  return standing;
}

std::string objectionTo(int fd, const Standing& own, pid_t* pid) {
  ucred peer = {};
  socklen_t length = sizeof peer;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0) return "it cannot be asked who it is";
  if (peer.uid != 0) return "its user is " + std::to_string(peer.uid) + ", not root";
  *pid = peer.pid;
  // Another PID namespace, which is not below ours.
  if (peer.pid == 0) return "its process cannot be seen from here";
  char proc[32];
  snprintf(proc, sizeof proc, "/proc/%d", static_cast<int>(peer.pid));
  try {
    if (standingOf(proc) == own) return "";
  } catch (const SystemError& error) {
    return std::string("it cannot be looked at: ") + strerror(error.number);
  }
  return "it stands in another network namespace, mount namespace or root folder";
}

// placeOf(path): string. As the launcher writes it (bin/launcher/request.cc); empty where nothing can be seen.
Napi::Value placeOf(const Napi::CallbackInfo& info) {
  struct stat found = {};
  char text[48] = "";
  if (stat(stringArgument(info, 0, "path").c_str(), &found) == 0) {
    snprintf(text, sizeof text, "%llu:%llu ", static_cast<unsigned long long>(found.st_dev),
             static_cast<unsigned long long>(found.st_ino));
  }
  return Napi::String::New(info.Env(), text);
}

}  // namespace weft
