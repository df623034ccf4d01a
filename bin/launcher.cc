// The executable that a runtime invokes: finds Node and the bundle that lies beside it, and becomes Node.
//
// One binary under many names (bridge, ptp, host-local, weft, ...): the name it is called by says which plugin is meant.
// It uses nothing but its own folder, so a copied or symlinked set works from anywhere and with an almost empty environment.
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef WEFT_NODE_PATH
#define WEFT_NODE_PATH "/usr/bin/node"
#endif

extern char **environ;

namespace {

constexpr const char *kBundle = "weft-core.cjs";
// Where Node stands on common systems; PATH comes last, because runtimes call plugins with a PATH of their own.
constexpr const char *kNodePlaces[] = {WEFT_NODE_PATH, "/usr/bin/node", "/usr/local/bin/node", "/usr/bin/nodejs",
                                       "/opt/node/bin/node"};
const char *base_name(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash != nullptr ? slash + 1 : path;
}

bool is_executable(const char *path) { return path != nullptr && *path == '/' && access(path, X_OK) == 0; }

// The specification wants errors as JSON on stdout (SPEC 1.1, section 2); a person wants a line on stderr.
int fail(const char *what, const char *path, const char *remedy) {
  if (getenv("CNI_COMMAND") != nullptr) {
    printf("{\"cniVersion\":\"1.1.0\",\"code\":5,\"msg\":\"%s %s: %s\"}\n", what, path, remedy);
  } else {
    fprintf(stderr, "%s %s: %s\n", what, path, remedy);
  }
  return 1;
}

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

// NODE_OPTIONS and its kin belong to somebody else's program; they must not change how a plugin runs.
void drop_node_variables() {
  char **kept = environ;
  for (char **entry = environ; *entry != nullptr; entry++) {
    if (strncmp(*entry, "NODE_", 5) != 0) *kept++ = *entry;
  }
  *kept = nullptr;
}

}  // namespace

int main(int argc, char **argv) {
  char exe[PATH_MAX];
  const ssize_t length = readlink("/proc/self/exe", exe, sizeof exe - 1);
  if (length <= 0) return fail("cannot read", "/proc/self/exe", strerror(errno));
  exe[length] = '\0';

  char bundle[PATH_MAX + sizeof "weft-core.cjs"];
  snprintf(bundle, sizeof bundle, "%.*s/%s", static_cast<int>(base_name(exe) - exe - 1), exe, kBundle);
  if (access(bundle, R_OK) != 0) {
    return fail("cannot read", bundle, "it belongs beside the executable; copy the whole folder or symlink into it");
  }

  char buffer[PATH_MAX];
  const char *node = find_node(buffer, sizeof buffer);
  if (node == nullptr) return fail("cannot find", "node", "install Node 20 or later, or name it in WEFT_NODE");

  const char **args = static_cast<const char **>(calloc(static_cast<size_t>(argc) + 5, sizeof *args));
  if (args == nullptr) return fail("cannot start", node, "out of memory");
  size_t n = 0;
  args[n++] = node;
  args[n++] = bundle;
  args[n++] = base_name(argc > 0 ? argv[0] : exe);
  args[n++] = base_name(exe);
  for (int i = 1; i < argc; i++) args[n++] = argv[i];

  drop_node_variables();
  execve(node, const_cast<char *const *>(args), environ);
  return fail("cannot start", node, strerror(errno));
}
