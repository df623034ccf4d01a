// The executable that a runtime invokes: hands the request to the agent of this host, or becomes Node, which does the same by
// the bundle that lies beside it.
//
// One binary under many names (bridge, ptp, host-local, weft, ...): the name it is called by says which plugin is meant.
// It uses nothing but its own folder, so a copied or symlinked set works from anywhere and with an almost empty environment.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launcher.h"

extern char **environ;

namespace {

// What containerd and Podman execute in runc's place.
constexpr const char *kRuntime = "weft-oci";

const char *base_name(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash != nullptr ? slash + 1 : path;
}

// Only the protocol goes to the agent (SPEC 1.1, section 2: CNI_COMMAND says so); `weft ...` and help texts do not.
bool wants_agent() {
  const char *command = getenv("CNI_COMMAND");
  const char *choice = getenv("WEFT_AGENT");
  return command != nullptr && *command != '\0' && (choice == nullptr || strcmp(choice, "off") != 0);
}

}  // namespace

// The specification wants errors as JSON on stdout (SPEC 1.1, section 2); a person wants a line on stderr.
int fail(const char *what, const char *path, const char *remedy) {
  if (getenv("CNI_COMMAND") != nullptr) {
    printf("{\"cniVersion\":\"1.1.0\",\"code\":5,\"msg\":\"%s %s: %s\"}\n", what, path, remedy);
  } else {
    fprintf(stderr, "%s %s: %s\n", what, path, remedy);
  }
  return 1;
}

void drop_variables(const char *prefix) {
  const size_t length = strlen(prefix);
  char **kept = environ;
  for (char **entry = environ; *entry != nullptr; entry++) {
    if (strncmp(*entry, prefix, length) != 0) *kept++ = *entry;
  }
  *kept = nullptr;
}

int main(int argc, char **argv) {
  static Self self;
  static char exe[PATH_MAX];
  const ssize_t length = readlink("/proc/self/exe", exe, sizeof exe - 1);
  if (length <= 0) return fail("cannot read", "/proc/self/exe", strerror(errno));
  exe[length] = '\0';
  self.file = base_name(exe);
  self.called_as = base_name(argc > 0 ? argv[0] : exe);
  memcpy(self.home, exe, static_cast<size_t>(self.file - exe) - 1);

  // NODE_OPTIONS and its kin belong to somebody else's program; they must not change how a plugin runs.
  drop_variables("NODE_");
  drop_variables("WEFT_HALF_DONE=");

  const bool is_runtime = strcmp(self.called_as, kRuntime) == 0 || strcmp(self.file, kRuntime) == 0;
  if (is_runtime && serve_runtime(&argc, &argv)) return 0;

  Request request = {};
  int status = 1;
  const Asked asked = wants_agent() ? ask_agent(self, &request, &status) : kNotTaken;
  if (asked == kAnswered) return status;
  return run_cold(self, request, argc, argv, asked == kBrokenHalfDone);
}
