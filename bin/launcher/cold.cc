// The cold path: find Node and the bundle that lies beside the executable, and become Node.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "launcher.h"

#ifndef WEFT_NODE_PATH
#define WEFT_NODE_PATH "/usr/bin/node"
#endif

extern char **environ;

namespace {

constexpr const char *kBundle = "weft-core.cjs";
// Where Node stands on common systems; PATH comes last, because runtimes call plugins with a PATH of their own.
constexpr const char *kNodePlaces[] = {WEFT_NODE_PATH, "/usr/bin/node", "/usr/local/bin/node", "/usr/bin/nodejs",
                                       "/opt/node/bin/node"};

bool is_executable(const char *path) { return path != nullptr && *path == '/' && access(path, X_OK) == 0; }

const char *find_in_path(char *buffer, size_t size) {
  const char *path = getenv("PATH");
  while (path != nullptr && *path != '\0') {
    const char *end = strchrnul(path, ':');
    const int length = snprintf(buffer, size, "%.*s/node", static_cast<int>(end - path), path);
    if (length > 0 && static_cast<size_t>(length) < size && is_executable(buffer)) return buffer;
    path = *end == ':' ? end + 1 : end;
  }
  return nullptr;
}

const char *find_node(char *buffer, size_t size) {
  const char *chosen = getenv("WEFT_NODE");
  if (chosen != nullptr && *chosen != '\0') return chosen;
  for (const char *place : kNodePlaces) {
    if (is_executable(place)) return place;
  }
  return find_in_path(buffer, size);
}

// Standard input that was read already, as standard input again.
bool give_back(const Request &request) {
  const int file = memfd_create("weft input", MFD_CLOEXEC);
  if (file < 0) return false;
  for (size_t done = request.input; done < request.length;) {
    const ssize_t count = write(file, request.bytes + done, request.length - done);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    done += static_cast<size_t>(count);
  }
  return lseek(file, 0, SEEK_SET) == 0 && dup2(file, STDIN_FILENO) == STDIN_FILENO;
}

// What can only be said before Node starts. Returns how many arguments there are.
size_t prepare_agent(const char **args, size_t count) {
  // libuv's pool: each request may wait for the kernel on a thread of its own.
  setenv("UV_THREADPOOL_SIZE", "16", 0);
  // The agent stays: small rather than a little faster (docs/agent.md has the numbers).
  setenv("MALLOC_ARENA_MAX", "2", 0);
  // What the kernel says of all containers at once goes back when it was read; by itself the bound rises to the largest that was freed.
  setenv("MALLOC_MMAP_THRESHOLD_", "131072", 0);
  args[count++] = "--max-semi-space-size=1";
  args[count++] = "--single-threaded-gc";
  // What lives is small and what is dropped is much: without a bound the heap grows to several times its content before it is swept.
  args[count++] = "--heap-growing-percent=40";
  args[count++] = "--expose-gc";
  return count;
}

}  // namespace

int run_cold(const Self &self, const Request &request, int argc, char **argv, bool half_done) {
  char bundle[PATH_MAX + 16];
  snprintf(bundle, sizeof bundle, "%s/%s", self.home, kBundle);
  if (access(bundle, R_OK) != 0) {
    return fail("cannot read", bundle, "it belongs beside the executable; copy the whole folder or symlink into it");
  }
  char buffer[PATH_MAX];
  const char *node = find_node(buffer, sizeof buffer);
  if (node == nullptr) return fail("cannot find", "node", "install Node 20 or later, or name it in WEFT_NODE");

  const char **args = static_cast<const char **>(calloc(static_cast<size_t>(argc) + 9, sizeof *args));
  if (args == nullptr) return fail("cannot start", node, "out of memory");
  size_t n = 0;
  args[n++] = node;
  if (argc > 1 && strcmp(argv[1], "agent") == 0) n = prepare_agent(args, n);
  args[n++] = bundle;
  args[n++] = self.called_as;
  args[n++] = self.file;
  for (int i = 1; i < argc; i++) args[n++] = argv[i];

  if (request.read && !give_back(request)) return fail("cannot hand on", "standard input", strerror(errno));
  // Read by bin/main.ts.
  if (half_done) setenv("WEFT_HALF_DONE", "1", 1);
  execve(node, const_cast<char *const *>(args), environ);
  return fail("cannot start", node, strerror(errno));
}
