// What containerd and Podman ask of weft-oci again and again, without a start of Node: `start`, `state`, `kill` and `delete` of a container
// in the ordinary case, by the brief that `create` left (runtime/oci/brief.ts). Whatever is not ordinary (hooks, faults, other
// words, processes that are left) is for Node, which knows all of it; nothing is done here before that is decided.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "launcher.h"
#include "oci-brief.h"

namespace {

// As DEFAULT_ROOT in cli/oci/main.ts.
constexpr const char *kDefaultRoot = "/run/weft-oci";
// monitor.h, Note: its kind and three bytes of nothing, the step, the errno.
constexpr size_t kNote = 12;

Brief brief;

struct Call {
  const char *root = kDefaultRoot;
  const char *command = nullptr;
  const char *id = nullptr;
  // Behind the id.
  const char *more = nullptr;
  bool force = false;
};

// By Status.
constexpr const char *kStatusWords[] = {"stopped", "created", "running", "paused"};

bool is(const char *one, const char *other) { return strcmp(one, other) == 0; }

// The value of `--name VALUE` or `--name=VALUE` at argv[*at]; *at is then at its last word.
const char *value_of(const char *name, int argc, char **argv, int *at) {
  const char *word = argv[*at];
  const size_t length = strlen(name);
  if (strncmp(word, name, length) != 0) return nullptr;
  if (word[length] == '=') return word + length + 1;
  if (word[length] != '\0' || *at + 1 >= argc) return nullptr;
  return argv[++*at];
}

// False for every word that is not the usual one.
bool read_call(int argc, char **argv, Call *call) {
  int at = 1;
  for (; at < argc && argv[at][0] == '-'; at++) {
    if (const char *root = value_of("--root", argc, argv, &at)) call->root = root;
    else if (!is(argv[at], "--debug") && value_of("--log", argc, argv, &at) == nullptr &&
             value_of("--log-format", argc, argv, &at) == nullptr) return false;
  }
  if (at < argc) call->command = argv[at++];
  if (at < argc && (is(argv[at], "--force") || is(argv[at], "-f"))) call->force = at++ != 0;
  if (at < argc) call->id = argv[at++];
  if (at < argc) call->more = argv[at++];
  // A path, or a word of the runtime's own.
  return at == argc && call->id != nullptr && *call->id != '\0' && strchr("-.", *call->id) == nullptr &&
         strchr(call->id, '/') == nullptr && *call->root != '\0';
}

// 0 for one that is not known here.
int signal_of(const char *word) {
  if (*word >= '1' && *word <= '9') {
    char *end;
    const long number = strtol(word, &end, 10);
    return *end == '\0' && number <= 64 ? static_cast<int>(number) : 0;
  }
  static constexpr struct {
    const char *name;
    int number;
  } kSignals[] = {{"TERM", SIGTERM}, {"KILL", SIGKILL}, {"INT", SIGINT},   {"HUP", SIGHUP},
                  {"QUIT", SIGQUIT}, {"USR1", SIGUSR1}, {"USR2", SIGUSR2}, {"WINCH", SIGWINCH}};
  if (strncmp(word, "SIG", 3) == 0) word += 3;
  for (const auto &signal : kSignals) {
    if (is(word, signal.name)) return signal.number;
  }
  return 0;
}

// With `files`, everything; without, folders alone, as control groups want it. False when something stays.
bool remove_tree(int parent, const char *name, bool files) {
  const int file = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (file < 0) return errno == ENOENT;
  DIR *folder = fdopendir(file);
  if (folder == nullptr) {
    close(file);
    return false;
  }
  bool gone = true;
  while (const dirent *entry = readdir(folder)) {
    if (is(entry->d_name, ".") || is(entry->d_name, "..")) continue;
    if (entry->d_type == DT_DIR) gone = remove_tree(file, entry->d_name, files) && gone;
    else if (files) gone = unlinkat(file, entry->d_name, 0) == 0 && gone;
  }
  closedir(folder);
  return gone && unlinkat(parent, name, AT_REMOVEDIR) == 0;
}

// Opens the gate, and waits until the command runs. `fault` is what was said instead; empty for nothing.
bool open_gate(int folder, char *fault, size_t *length) {
  const int gate = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  // A socket's path holds 108 bytes, a folder's may be longer.
  snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/%s", folder, kGate);
  if (gate < 0 || connect(gate, reinterpret_cast<sockaddr *>(&address), sizeof address) != 0) return false;
  unlinkat(folder, kGate, 0);
  for (*length = 0; *length < kNote;) {
    const ssize_t count = read(gate, fault + *length, kNote - *length);
    if (count < 0 && errno == EINTR) continue;
    // Only exec closes it without a word.
    if (count <= 0) return true;
    *length += static_cast<size_t>(count);
  }
  return true;
}

// Node says what it was, and how to tell it: `start ID STEP ERRNO`.
void tell_fault(const char *note, int *argc, char ***argv) {
  static char words[2][16];
  int32_t numbers[2];
  memcpy(numbers, note + 4, sizeof numbers);
  char **longer = static_cast<char **>(calloc(static_cast<size_t>(*argc) + 3, sizeof *longer));
  if (longer == nullptr) return;
  memcpy(longer, *argv, static_cast<size_t>(*argc) * sizeof *longer);
  for (int word = 0; word < 2; word++) {
    snprintf(words[word], sizeof words[word], "%d", static_cast<int>(numbers[word]));
    longer[(*argc)++] = words[word];
  }
  *argv = longer;
}

bool start(int folder, int *argc, char ***argv) {
  if (brief.poststart || brief.status(folder) != kCreated) return false;
  char note[kNote];
  size_t length;
  if (!open_gate(folder, note, &length)) return false;
  if (length < kNote) return true;
  tell_fault(note, argc, argv);
  return false;
}

bool print_state(int folder) {
  const Status status = brief.status(folder);
  printf("%s%d,\n  \"status\": \"%s\"\n}\n", brief.state, status == kStopped ? 0 : static_cast<int>(brief.pid),
         kStatusWords[status]);
  return fflush(stdout) == 0;
}

bool send_signal(const char *word) {
  const int signal = signal_of(word);
  return signal != 0 && brief.runs() && kill(brief.pid, signal) == 0;
}

bool take_away(const Call &call, int folder) {
  if (brief.poststop || brief.status(folder) != kStopped) return false;
  for (size_t group = 0; group < brief.group_count; group++) {
    if (!remove_tree(AT_FDCWD, brief.groups[group], false)) return false;
  }
  char path[PATH_MAX];
  snprintf(path, sizeof path, "%s/%s", call.root, call.id);
  return remove_tree(AT_FDCWD, path, true);
}

}  // namespace

bool serve_runtime(int *argc, char ***argv) {
  Call call;
  char path[PATH_MAX];
  if (!read_call(*argc, *argv, &call)) return false;
  const bool kills = is(call.command, "kill");
  if ((call.more != nullptr && !kills) || (call.force && !is(call.command, "delete"))) return false;
  const int length = snprintf(path, sizeof path, "%s/%s", call.root, call.id);
  if (length < 0 || static_cast<size_t>(length) >= sizeof path) return false;
  const int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0 || !brief.read(folder)) return false;
  if (kills) return send_signal(call.more != nullptr ? call.more : "TERM");
  if (is(call.command, "start")) return start(folder, argc, argv);
  if (is(call.command, "state")) return print_state(folder);
  return is(call.command, "delete") && take_away(call, folder);
}
