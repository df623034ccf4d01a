// PID 1 of a container: forwards signals to the command and reaps whom nobody else waits for.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "monitor.h"

namespace {

// Of the command when it has ended, else -1.
int reap(pid_t child) {
  int result = -1;
  int status;
  for (pid_t ended; (ended = waitpid(-1, &status, WNOHANG)) > 0;) {
    if (ended == child) result = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  }
  return result;
}

}  // namespace

void be_init(pid_t child) {
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, nullptr);
  for (;;) {
    // Before the first signal, too: the child may be gone already.
    const int status = reap(child);
    if (status >= 0) _exit(status);
    int signal;
    if (sigwait(&all, &signal) != 0 || signal == SIGCHLD) continue;
    if (child > 0) kill(child, signal);
    else if (signal == SIGTERM || signal == SIGINT) _exit(0);
  }
}
