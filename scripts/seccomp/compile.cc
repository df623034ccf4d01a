// Build time only: turns rules, one a line, into the instructions of a seccomp filter, by libseccomp. Standard input:
//   default ERRNO
//   allow NAME [ARGUMENT OPERATOR VALUE [VALUE]]...
//   refuse ERRNO NAME [ARGUMENT OPERATOR VALUE [VALUE]]...
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
    int error = 0;
    words >> kind;
    if (kind == "default") {
      words >> error;
      context = seccomp_init(SCMP_ACT_ERRNO(error));
      // Programs of 32 bits run as well; a foreign architecture is refused, not killed.
      seccomp_attr_set(context, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(ENOSYS));
      if (seccomp_arch_native() == SCMP_ARCH_X86_64) {
        seccomp_arch_add(context, SCMP_ARCH_X86);
        seccomp_arch_add(context, SCMP_ARCH_X32);
      } else if (seccomp_arch_native() == SCMP_ARCH_AARCH64) {
        seccomp_arch_add(context, SCMP_ARCH_ARM);
      }
      // A tree instead of a list: hundreds of comparisons for each call become nine.
      seccomp_attr_set(context, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    } else if (context == nullptr) {
      fail("the first line is the default", EINVAL);
    } else if (kind == "allow") {
      add(context, SCMP_ACT_ALLOW, words, line);
    } else if (kind == "refuse") {
      words >> error;
      add(context, SCMP_ACT_ERRNO(error), words, line);
    }
  }
  if (context == nullptr) fail("no rules on standard input", EINVAL);
  if (const int result = seccomp_export_bpf(context, STDOUT_FILENO)) fail("export", result);
  return 0;
}
