// The monitor's life: it waits for the container's first process, keeps its output, and answers those who ask.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "birth.h"
#include "clients.h"
#include "output-log.h"

namespace {

constexpr int kStarter = 3;
constexpr const char *kSocket = "socket";

class Monitor {
 public:
  // Returns the monitor's own exit status.
  int run(Program *program);

 private:
  void listen_for_clients();
  void serve();
  void on_note();
  void on_output(int *fd, char kind);
  void on_child();
  void on_client(Client *client, short events);
  void on_frame(Client *client, char kind, const char *body, uint32_t length);
  void on_input(Client *client, const char *body, uint32_t length);
  void pass_input();
  void end_input();
  void acknowledge(Client *client, size_t length);
  int input() const { return master_ >= 0 ? master_ : born_.input; }
  void start_failed(int step, int error);
  void end();
  void write_status(const char *phase);
  bool out_of_memory() const;
  void run_ended();

  Wishes wishes_;
  Born born_;
  Clients clients_;
  int listener_ = -1;
  int signals_ = -1;
  int master_ = -1;
  OutputLog log_;
  // What was typed and not taken yet, and by whom.
  char *typed_ = nullptr;
  size_t typed_length_ = 0;
  size_t typed_room_ = 0;
  int typist_ = -1;
  bool input_ended_ = false;
  bool waiting_ = false;
  bool running_ = false;
  bool gone_ = false;
  // Its maker went away before it began.
  bool unwanted_ = false;
  // Somebody who is connected does what is to be done at the end.
  bool cared_for_ = false;
  // Everybody was told of the end.
  bool told_ = false;
  uint64_t started_ = 0;
  int status_ = -1;
  char failure_[32] = "";
};

void Monitor::write_status(const char *phase) {
  if (wishes_.alone) return;
  char text[512];
  int length = snprintf(text, sizeof text, "{\"phase\":\"%s\",\"pid\":%d,\"monitor\":%d,\"started\":%llu", phase, born_.pid,
                        getpid(), static_cast<unsigned long long>(started_));
  if (status_ >= 0) {
    length += snprintf(text + length, sizeof text - length, ",\"ended\":%llu,\"status\":%d,\"outOfMemory\":%s",
                       static_cast<unsigned long long>(milliseconds()), status_, out_of_memory() ? "true" : "false");
  }
  if (failure_[0] != '\0') length += snprintf(text + length, sizeof text - length, ",\"failure\":\"%s\"", failure_);
  length += snprintf(text + length, sizeof text - length, "}\n");
  if (write_file("status.new", text, static_cast<size_t>(length), O_CREAT | O_TRUNC) == 0) rename("status.new", "status");
}

bool Monitor::out_of_memory() const {
  if (wishes_.oom_file == nullptr) return false;
  char text[4096];
  const int file = open(wishes_.oom_file, O_RDONLY | O_CLOEXEC);
  const ssize_t length = file < 0 ? -1 : read(file, text, sizeof text - 1);
  if (file >= 0) close(file);
  if (length <= 0) return false;
  text[length] = '\0';
  const char *found = strstr(text, "oom_kill ");
  return found != nullptr && number(found + strlen("oom_kill ")) > 0;
}

void Monitor::start_failed(int step, int error) {
  const int length = snprintf(failure_, sizeof failure_, "%d %d", step, error);
  clients_.tell('F', failure_, static_cast<size_t>(length), true);
}

void Monitor::on_note() {
  Note note;
  int descriptor;
  const int got = receive_note(born_.channel, &note, &descriptor);
  if (got == 1 && note.kind == 'w') {
    waiting_ = true;
    write_status("created");
    char pid[16];
    const int length = snprintf(pid, sizeof pid, "%d", born_.pid);
    clients_.tell('C', pid, static_cast<size_t>(length), true);
  } else if (got == 1 && note.kind == 't') {
    master_ = born_.output = descriptor;
    fcntl(master_, F_SETFL, O_NONBLOCK);
  } else if (got == 1 && note.kind == 'f') {
    start_failed(note.step, note.error);
  } else {
    close(born_.channel);
    born_.channel = -1;
    // Only exec closes it without a word, or its end by our own hand.
    if (failure_[0] == '\0' && !waiting_ && !unwanted_) {
      running_ = true;
      started_ = milliseconds();
      write_status("running");
      clients_.tell('B', "", 0, true);
    }
  }
}

void Monitor::on_output(int *fd, char kind) {
  char data[32768];
  const ssize_t count = read(*fd, data, sizeof data);
  if (count > 0) {
    if (wishes_.log_room > 0) log_.keep(wishes_.log_room, kind, data, static_cast<size_t>(count));
    clients_.tell(kind, data, static_cast<size_t>(count), false);
    return;
  }
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (*fd == master_) master_ = -1;
  close(*fd);
  *fd = -1;
}

void Monitor::on_child() {
  signalfd_siginfo seen;
  while (read(signals_, &seen, sizeof seen) > 0) continue;
  if (wishes_.alone) {
    // It may have run and ended already: how, is for whoever gets it to learn.
    siginfo_t ended = {};
    gone_ = waitid(P_PID, static_cast<id_t>(born_.pid), &ended, WEXITED | WNOHANG | WNOWAIT) == 0 && ended.si_pid != 0;
    return;
  }
  int status;
  for (pid_t ended; (ended = waitpid(-1, &status, WNOHANG)) > 0;) {
    if (ended != born_.pid) continue;
    gone_ = true;
    status_ = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  }
}

// Who types is told how much was taken: he keeps the rest, and what he says beside it is heard at once.
void Monitor::on_input(Client *client, const char *body, uint32_t length) {
  if (input() < 0 || input_ended_) {
    acknowledge(client, length);
    return;
  }
  if (typed_length_ + length > typed_room_) {
    char *grown = static_cast<char *>(realloc(typed_, typed_length_ + length));
    if (grown == nullptr) return;
    typed_ = grown;
    typed_room_ = typed_length_ + length;
  }
  memcpy(typed_ + typed_length_, body, length);
  typed_length_ += length;
  typist_ = client->fd;
}

void Monitor::acknowledge(Client *client, size_t length) {
  const uint32_t taken = static_cast<uint32_t>(length);
  if (client != nullptr && taken > 0) clients_.send(client, 'Y', &taken, sizeof taken);
}

void Monitor::pass_input() {
  const ssize_t count = write(input(), typed_, typed_length_);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
  // A command that closed its input wants no more of it.
  if (count < 0) input_ended_ = true;
  const size_t taken = count < 0 ? typed_length_ : static_cast<size_t>(count);
  typed_length_ -= taken;
  memmove(typed_, typed_ + taken, typed_length_);
  acknowledge(clients_.by_fd(typist_), taken);
  end_input();
}

void Monitor::end_input() {
  if (!input_ended_ || typed_length_ > 0 || born_.input < 0) return;
  close(born_.input);
  born_.input = -1;
}

void Monitor::on_frame(Client *client, char kind, const char *body, uint32_t length) {
  if (kind == 'A') client->attached = true;
  if (kind == 'D') client->holds = false;
  if (kind == 'Q') cared_for_ = client->cares = true;
  if (kind == 'S' && waiting_) {
    waiting_ = false;
    send_note(born_.channel, {'g', 0, 0});
  }
  if (kind == 'I') on_input(client, body, length);
  if (kind == 'E') {
    // A terminal has no end: its reader sees one in the key that says so, after what stands in the line.
    if (master_ >= 0) on_input(client, "\4\4", 2);
    input_ended_ = true;
    end_input();
  }
  if (kind == 'W' && length == 4 && master_ >= 0) {
    winsize size = {};
    memcpy(&size.ws_row, body, 2);
    memcpy(&size.ws_col, body + 2, 2);
    ioctl(master_, TIOCSWINSZ, &size);
  }
  if (kind == 'K' && length == 1 && !gone_) kill(born_.pid, body[0]);
}

void Monitor::on_client(Client *client, short events) {
  bool there = true;
  if (events & POLLOUT) there = clients_.flush(client);
  if (there && (events & (POLLIN | POLLHUP | POLLERR))) {
    there = clients_.receive(client);
    char kind;
    const char *body;
    uint32_t length;
    while (clients_.next_frame(client, &kind, &body, &length)) on_frame(client, kind, body, length);
  }
  if (there) return;
  // Who made it went away before it began: nobody will start it.
  if (client->holds && !running_ && !gone_) {
    unwanted_ = true;
    kill(born_.pid, SIGKILL);
  }
  if (client->cares && !(told_ && client->out_length == 0)) cared_for_ = false;
  clients_.remove(client);
}

void Monitor::listen_for_clients() {
  listener_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  strcpy(address.sun_path, kSocket);
  unlink(kSocket);
  umask(077);
  if (bind(listener_, reinterpret_cast<sockaddr *>(&address), sizeof address) != 0 || listen(listener_, 8) != 0) {
    close(listener_);
    listener_ = -1;
  }
}

void Monitor::serve() {
  while (!wishes_.alone || !running_ || clients_.pending()) {
    const bool choked = clients_.choked();
    pollfd polls[8 + Clients::kMost];
    size_t count = 0;
    polls[count++] = {signals_, POLLIN, 0};
    polls[count++] = {born_.channel, POLLIN, 0};
    polls[count++] = {listener_, POLLIN, 0};
    polls[count++] = {choked ? -1 : born_.output, POLLIN, 0};
    polls[count++] = {choked ? -1 : born_.errors, POLLIN, 0};
    polls[count++] = {typed_length_ > 0 ? input() : -1, POLLOUT, 0};
    const size_t first = count;
    count += clients_.fill(polls + count);
    const int ready = poll(polls, count, gone_ && !choked ? 0 : -1);
    if (ready < 0 && errno != EINTR) return;
    if (ready == 0) return;
    if (polls[0].revents) on_child();
    if (polls[1].revents) on_note();
    if (polls[3].revents) on_output(&born_.output, 'O');
    if (polls[4].revents) on_output(&born_.errors, 'R');
    if (polls[5].revents && input() >= 0) pass_input();
    for (size_t at = first; at < count; at++) {
      Client *client = clients_.by_fd(polls[at].fd);
      if (polls[at].revents && client != nullptr) on_client(client, polls[at].revents);
    }
    if (polls[2].revents) {
      const int fd = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
      if (fd >= 0 && !clients_.add(fd, false)) close(fd);
    }
  }
}

void Monitor::run_ended() {
  if (wishes_.ended[0] == nullptr || cared_for_) return;
  const pid_t child = fork();
  if (child == 0) {
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    const int nothing = open("/dev/null", O_RDWR);
    for (int stream = 0; stream < 3; stream++) dup2(nothing, stream);
    execv(wishes_.ended[0], const_cast<char *const *>(wishes_.ended));
    _exit(127);
  }
  if (child > 0) waitpid(child, nullptr, 0);
}

// Everybody is told, and has a while to read it.
void Monitor::end() {
  write_status("stopped");
  if (listener_ >= 0) {
    unlink(kSocket);
    close(listener_);
    listener_ = -1;
  }
  char text[16];
  const int length = snprintf(text, sizeof text, "%d", status_);
  clients_.tell('X', text, static_cast<size_t>(length), true);
  told_ = true;
  const uint64_t until = milliseconds() + 10000;
  // Who still sends input hears of the end first, and goes: closed before, his next word would cost him what he has not read.
  while ((clients_.pending() || clients_.attached()) && milliseconds() < until) {
    pollfd polls[Clients::kMost];
    const size_t count = clients_.fill(polls);
    if (poll(polls, count, 1000) < 0 && errno != EINTR) break;
    for (size_t at = 0; at < count; at++) {
      Client *client = clients_.by_fd(polls[at].fd);
      if (polls[at].revents && client != nullptr) on_client(client, polls[at].revents);
    }
  }
}

int Monitor::run(Program *program) {
  sigset_t blocked;
  sigemptyset(&blocked);
  const int ignored[] = {SIGCHLD, SIGTERM, SIGINT, SIGHUP, SIGPIPE, SIGTTOU};
  for (const int signal : ignored) sigaddset(&blocked, signal);
  sigprocmask(SIG_BLOCK, &blocked, nullptr);
  sigset_t children;
  sigemptyset(&children);
  sigaddset(&children, SIGCHLD);
  signals_ = signalfd(-1, &children, SFD_CLOEXEC | SFD_NONBLOCK);
  setsid();
  fcntl(kStarter, F_SETFD, FD_CLOEXEC);
  clients_.add(kStarter, true);
  if (const int error = give_birth(program, &wishes_, &born_)) {
    start_failed(program->index(), error);
    if (born_.pid > 0) waitpid(born_.pid, nullptr, 0);
    status_ = 126;
    end();
    return 1;
  }
  if (born_.pid < 0) return 0;
  prctl(PR_SET_NAME, "weft-monitor");
  if (!wishes_.alone) listen_for_clients();
  serve();
  if (wishes_.alone && running_) return 0;
  if (wishes_.alone) waitpid(born_.pid, nullptr, 0);
  end();
  run_ended();
  return 0;
}

Program program;
Monitor monitor;

}  // namespace

// weft-monitor FOLDER: runs FOLDER/steps; descriptor 3 is a connected Unix socket to whoever starts it.
int main(int argc, char **argv) {
  if (argc != 2 || chdir(argv[1]) != 0 || !program.open("steps")) {
    const int error = argc == 2 ? errno : EINVAL;
    dprintf(2, "weft-monitor is started by weft: it wants a folder with a list of steps, found %s: %s\n",
            argc == 2 ? argv[1] : "no argument", strerror(error));
    return 125;
  }
  return monitor.run(&program);
}
