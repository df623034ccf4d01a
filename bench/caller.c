// A caller as a container runtime is one: starts plugins as processes, with input and environment, and reads what they print.
// In C, because a process that Node starts costs some milliseconds of Node's own, which is more than what is measured here.
//
//   cc -O2 -pthread -o caller bench/caller.c
//
// Reads lines. A job is `input TAB NAME=value TAB ... TAB file TAB argument ...`; `!COUNT` runs all jobs since the last one, COUNT
// of them at a time, in order, and answers with a line for each: `start TAB end TAB status TAB output`. Times are nanoseconds
// of CLOCK_MONOTONIC: before the process is started, and after its output has ended and it was waited for. When there are no more
// lines, everything ends that jobs have left running: agents, however the benchmark came to its end.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { kMostWords = 128, kMostCallers = 64 };

struct job {
  char *words;
  char *output;
  size_t length;
  long long start, end;
  int status;
};

static struct job *jobs;
static int count, next;

static void die(const char *what) {
  fprintf(stderr, "caller: %s: %s\n", what, strerror(errno));
  exit(1);
}

static long long now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1000000000LL + time.tv_nsec;
}

// The whole input is in the pipe before the process starts: it must fit (64 KiB, pipe(7)).
static int filled_pipe(const char *input) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) die("pipe");
  const size_t length = strlen(input);
  if (write(ends[1], input, length) != (ssize_t)length) die("input");
  close(ends[1]);
  return ends[0];
}

static void read_all(int from, struct job *job) {
  size_t room = 4096;
  job->output = malloc(room);
  for (;;) {
    const ssize_t got = read(from, job->output + job->length, room - job->length - 1);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    job->length += (size_t)got;
    if (room - job->length < 2) job->output = realloc(job->output, room *= 2);
  }
  job->output[job->length] = '\0';
  for (char *at = job->output; *at != '\0'; at++) {
    if (*at == '\n' || *at == '\t') *at = ' ';
  }
}

static void run(struct job *job) {
  char *words[kMostWords], *rest = job->words, *word, *environment[kMostWords];
  const char *input = strsep(&rest, "\t");
  size_t variables = 0, arguments = 0;
  while ((word = strsep(&rest, "\t")) != NULL && arguments < kMostWords - 1 && variables < kMostWords - 1) {
    if (arguments == 0 && strchr(word, '=') != NULL) environment[variables++] = word;
    else words[arguments++] = word;
  }
  environment[variables] = words[arguments] = NULL;

  int output[2];
  if (pipe2(output, O_CLOEXEC) != 0) die("pipe");
  const int stdin_end = filled_pipe(input);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, stdin_end, STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, output[1], STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, output[1], STDERR_FILENO);

  pid_t child;
  job->start = now();
  errno = posix_spawn(&child, words[0], &actions, NULL, words, environment);
  if (errno != 0) die(words[0]);
  close(output[1]);
  read_all(output[0], job);
  while (waitpid(child, &job->status, 0) < 0 && errno == EINTR) {
  }
  job->end = now();
  posix_spawn_file_actions_destroy(&actions);
  close(output[0]);
  close(stdin_end);
}

static void *take_jobs(void *unused) {
  for (int mine; (mine = __atomic_fetch_add(&next, 1, __ATOMIC_RELAXED)) < count;) run(&jobs[mine]);
  return unused;
}

static void run_all(int callers) {
  pthread_t threads[kMostCallers];
  next = 0;
  if (callers > kMostCallers) callers = kMostCallers;
  for (int i = 1; i < callers; i++) {
    if ((errno = pthread_create(&threads[i], NULL, take_jobs, NULL)) != 0) die("thread");
  }
  take_jobs(NULL);
  for (int i = 1; i < callers; i++) pthread_join(threads[i], NULL);
  for (int i = 0; i < count; i++) {
    const struct job *job = &jobs[i];
    const int status = WIFEXITED(job->status) ? WEXITSTATUS(job->status) : 128 + WTERMSIG(job->status);
    printf("%lld\t%lld\t%d\t%s\n", job->start, job->end, status, job->output);
    free(job->words);
    free(job->output);
  }
  count = 0;
  fflush(stdout);
}

// Nobody is there any more who would end what jobs have left running. Also the handler of SIGPIPE, which programs do not inherit.
static void end_all(int sign) {
  signal(SIGTERM, SIG_IGN);
  kill(0, SIGTERM);
  _exit(sign == 0 ? 0 : 1);
}

int main(void) {
  char *line = NULL;
  size_t room = 0;
  setpgid(0, 0);
  signal(SIGPIPE, end_all);
  for (ssize_t length; (length = getline(&line, &room, stdin)) > 0;) {
    if (line[length - 1] == '\n') line[length - 1] = '\0';
    if (line[0] == '!') {
      run_all(atoi(line + 1));
      continue;
    }
    jobs = realloc(jobs, sizeof *jobs * (size_t)(count + 1));
    if (jobs == NULL) die("job");
    jobs[count++] = (struct job){.words = strdup(line)};
  }
  end_all(0);
}
