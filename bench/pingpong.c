// Requests and responses of one byte over one TCP connection, as many as go one after the other.
//
//   cc -O2 -static -o pingpong bench/pingpong.c
//   pingpong PORT                     serves
//   pingpong PORT ADDRESS SECONDS     asks, and prints how many were answered in a second
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static void die(const char *what) {
  fprintf(stderr, "pingpong: %s: %s\n", what, strerror(errno));
  exit(1);
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec + time.tv_nsec / 1e9;
}

static void at_once(int fd) {
  int one = 1;
  if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) < 0) die("TCP_NODELAY");
}

static void serve(struct sockaddr_in6 *address) {
  int one = 1, listener = socket(AF_INET6, SOCK_STREAM, 0);
  if (listener < 0) die("socket");
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(listener, (struct sockaddr *)address, sizeof *address) < 0) die("bind");
  if (listen(listener, 8) < 0) die("listen");
  puts("listening");
  fflush(stdout);
  for (;;) {
    char byte;
    int fd = accept(listener, NULL, NULL);
    if (fd < 0) die("accept");
    at_once(fd);
    while (read(fd, &byte, 1) == 1 && write(fd, &byte, 1) == 1) {
    }
    close(fd);
  }
}

int main(int argc, char **argv) {
  struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_ANY_INIT};
  char mapped[64], byte = 0;
  if (argc != 2 && argc != 4) {
    fputs("usage: pingpong PORT [ADDRESS SECONDS]\n", stderr);
    return 2;
  }
  address.sin6_port = htons(atoi(argv[1]));
  if (argc == 2) serve(&address);
  snprintf(mapped, sizeof mapped, "%s%s", strchr(argv[2], ':') ? "" : "::ffff:", argv[2]);
  if (inet_pton(AF_INET6, mapped, &address.sin6_addr) != 1) die(argv[2]);
  int fd = socket(AF_INET6, SOCK_STREAM, 0);
  if (fd < 0) die("socket");
  if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0) die("connect");
  at_once(fd);
  long answered = 0;
  double start = now(), end = start + atof(argv[3]), last = start;
  while (last < end) {
    if (write(fd, &byte, 1) != 1 || read(fd, &byte, 1) != 1) die("the server ended");
    answered += 1;
    last = now();
  }
  printf("%.0f\n", answered / (last - start));
  return 0;
}
