// Who talks with the monitor: the command that started it (descriptor 3) and those who connect to its socket.
#pragma once

#include <poll.h>
#include <stddef.h>
#include <stdint.h>

// A frame: its kind, the length of its body (32 bits, little endian), the body.
// To the monitor: 'A' attach (send me the output), 'S' start, 'I' input, 'E' end of input, 'W' rows and columns (16 bits each), 'K' signal
// (8 bits), 'D' I go, it may stay, 'Q' I clean up at the end. From it: 'C' created (pid), 'B' the command began, 'F' a step failed ("index errno"), 'O' output, 'R' error
// output, 'X' ended ("status"), 'Y' so much of the input was taken (32 bits).
struct Client {
  int fd = -1;
  bool attached = false;
  // It will do what is to be done at the end.
  bool cares = false;
  // Its end before the start ends the container.
  bool holds = false;
  char in[70000];
  size_t in_length = 0;
  char *out = nullptr;
  size_t out_length = 0;
  size_t out_room = 0;
};

class Clients {
 public:
  static constexpr size_t kMost = 16;
  // Who waits for this much does not read: then the container's output waits as well, nothing is lost.
  static constexpr size_t kBacklog = 256 * 1024;

  // False when there are too many.
  bool add(int fd, bool holds);
  void remove(Client *client);
  void send(Client *client, char kind, const void *body, size_t length);
  // To all who are attached, or to everybody.
  void tell(char kind, const void *body, size_t length, bool everybody);
  // Whether somebody who is attached does not keep up.
  bool choked() const;
  // Whether anything is still to be sent.
  bool pending() const;
  // Whether somebody is attached.
  bool attached() const;
  size_t fill(pollfd *polls) const;
  // Writes what is due. False when the client is gone.
  bool flush(Client *client);
  // Reads what came. False when the client is gone.
  bool receive(Client *client);
  // Takes a whole frame out of what came: its body lies at *body until the next call. False when there is none.
  bool next_frame(Client *client, char *kind, const char **body, uint32_t *length);
  Client *by_fd(int fd);

 private:
  Client clients_[kMost];
  char frame_[70000];
};
