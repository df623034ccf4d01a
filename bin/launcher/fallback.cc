// Fallbacks are counted by the launcher, because an agent cannot see them: agent/fallbacks.ts reads what is written here.
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "launcher.h"

// One letter at the end of a file that the first agent made; where there never was one, nothing is written. Three system calls,
// and only on the way to a start of Node, which costs ten thousand times as much. What fails here is not worth an error.
void note_fallback(char reason) {
  const char *folder = getenv("WEFT_RUN_DIR");
  if (folder == nullptr || *folder == '\0') folder = "/run/weft";
  char path[PATH_MAX];
  const int length = snprintf(path, sizeof path, "%s/fallbacks", folder);
  if (length < 0 || static_cast<size_t>(length) >= sizeof path) return;
  const int file = open(path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (file < 0) return;
  if (write(file, &reason, 1) != 1) {
    // A full disk: the count is short by one.
  }
  close(file);
}
