// weft-seccomp: turns rules, one a line, into the instructions of a seccomp filter, by libseccomp: the default filter when weft is
// built, the filter of a bundle when weft-oci creates its container. Standard input:
//   default ACTION
//   arch NAME                                    further ones whose programs may run, before all rules
//   ACTION NAME [ARGUMENT OPERATOR VALUE VALUE]...
// ACTION is `allow`, `refuse ERRNO`, `trace NUMBER`, `kill`, `kill-process`, `trap` or `log`.
// Standard output: struct sock_filter, one after the other. Names that this architecture has not are left out.
#include <seccomp.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

namespace {

int operation(const std::string &word) {
  static const char *const kNames[] = {"", "NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"};
  for (int which = 1; which < 8; which++) {
    if (word == kNames[which]) return which;
  }
  return -1;
}

[[noreturn]] void fail(const std::string &what, int error) {
  std::cerr << "seccomp filter: " << what << ": " << strerror(error < 0 ? -error : error) << "\n";
  exit(1);
}

uint32_t action_of(const std::string &kind, std::istringstream &words) {
  unsigned value = 0;
  if (kind == "refuse" || kind == "trace") words >> value;
  if (kind == "allow") return SCMP_ACT_ALLOW;
  if (kind == "refuse") return SCMP_ACT_ERRNO(value);
  if (kind == "trace") return SCMP_ACT_TRACE(value);
  if (kind == "kill") return SCMP_ACT_KILL;
  if (kind == "kill-process") return SCMP_ACT_KILL_PROCESS;
  if (kind == "trap") return SCMP_ACT_TRAP;
  if (kind == "log") return SCMP_ACT_LOG;
  fail("action \"" + kind + "\"", EINVAL);
}

void add(scmp_filter_ctx context, uint32_t action, std::istringstream &words, const std::string &line) {
  std::string name;
  words >> name;
  const int call = seccomp_syscall_resolve_name(name.c_str());
  if (call == __NR_SCMP_ERROR) return;
  std::vector<scmp_arg_cmp> arguments;
  unsigned index;
  std::string word;
  unsigned long long first, second;
  while (words >> index >> word >> first >> second) {
    const int comparison = operation(word);
    if (comparison < 0) fail("operator in \"" + line + "\"", EINVAL);
    arguments.push_back({index, static_cast<scmp_compare>(comparison), first, second});
  }
  const int result = seccomp_rule_add_array(context, action, call, arguments.size(), arguments.data());
  // What the profile says twice, or says to be the default.
  if (result != 0 && result != -EACCES && result != -EEXIST) fail(line, result);
}

}  // namespace

int main() {
  scmp_filter_ctx context = nullptr;
  std::string line;
  while (std::getline(std::cin, line)) {
    std::istringstream words(line);
    std::string kind;
    words >> kind;
    if (kind == "default") {
      words >> kind;
      context = seccomp_init(action_of(kind, words));
      // Programs of 32 bits run as well; a foreign architecture is refused, not killed.
      seccomp_attr_set(context, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(ENOSYS));
      // A tree instead of a list: hundreds of comparisons for each call become nine.
      seccomp_attr_set(context, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    } else if (context == nullptr) {
      fail("the first line is the default", EINVAL);
    } else if (kind == "arch") {
      words >> kind;
      const uint32_t architecture = seccomp_arch_resolve_name(kind.c_str());
      // EEXIST: the machine's own.
      const int result = architecture == 0 ? 0 : seccomp_arch_add(context, architecture);
      if (result != 0 && result != -EEXIST) fail(line, result);
    } else if (!kind.empty()) {
      const uint32_t action = action_of(kind, words);
      add(context, action, words, line);
    }
  }
  if (context == nullptr) fail("no rules on standard input", EINVAL);
  if (const int result = seccomp_export_bpf(context, STDOUT_FILENO)) fail("export", result);
  return 0;
}
