#include "clients.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

namespace {
constexpr size_t kHeader = 5;
}

bool Clients::add(int fd, bool holds) {
  for (Client &client : clients_) {
    if (client.fd >= 0) continue;
    client.fd = fd;
    client.attached = client.cares = false;
    client.holds = holds;
    client.in_length = client.out_length = 0;
    return true;
  }
  return false;
}

void Clients::remove(Client *client) {
  close(client->fd);
  free(client->out);
  client->fd = -1;
  client->out = nullptr;
  client->out_length = client->out_room = 0;
}

void Clients::send(Client *client, char kind, const void *body, size_t length) {
  const size_t needed = client->out_length + kHeader + length;
  if (needed > client->out_room) {
    char *grown = static_cast<char *>(realloc(client->out, needed + 4096));
    if (grown == nullptr) return;
    client->out = grown;
    client->out_room = needed + 4096;
  }
  char *at = client->out + client->out_length;
  const uint32_t size = static_cast<uint32_t>(length);
  at[0] = kind;
  memcpy(at + 1, &size, sizeof size);
  memcpy(at + kHeader, body, length);
  client->out_length = needed;
}

void Clients::tell(char kind, const void *body, size_t length, bool everybody) {
  for (Client &client : clients_) {
    if (client.fd >= 0 && (everybody || client.attached)) send(&client, kind, body, length);
  }
}

bool Clients::choked() const {
  for (const Client &client : clients_) {
    if (client.fd >= 0 && client.out_length > kBacklog) return true;
  }
  return false;
}

bool Clients::pending() const {
  for (const Client &client : clients_) {
    if (client.fd >= 0 && client.out_length > 0) return true;
  }
  return false;
}

bool Clients::attached() const {
  for (const Client &client : clients_) {
    if (client.fd >= 0 && client.attached) return true;
  }
  return false;
}

size_t Clients::fill(pollfd *polls) const {
  size_t count = 0;
  for (const Client &client : clients_) {
    if (client.fd < 0) continue;
    const bool room = client.in_length < sizeof client.in;
    polls[count++] = {client.fd, static_cast<short>((room ? POLLIN : 0) | (client.out_length > 0 ? POLLOUT : 0)), 0};
  }
  return count;
}

bool Clients::flush(Client *client) {
  if (client->out_length == 0) return true;
  const ssize_t sent = ::send(client->fd, client->out, client->out_length, MSG_NOSIGNAL | MSG_DONTWAIT);
  if (sent < 0) return errno == EAGAIN || errno == EINTR;
  client->out_length -= static_cast<size_t>(sent);
  memmove(client->out, client->out + sent, client->out_length);
  return true;
}

bool Clients::receive(Client *client) {
  const ssize_t count = recv(client->fd, client->in + client->in_length, sizeof client->in - client->in_length, MSG_DONTWAIT);
  if (count < 0) return errno == EAGAIN || errno == EINTR;
  client->in_length += static_cast<size_t>(count);
  return count > 0;
}

bool Clients::next_frame(Client *client, char *kind, const char **body, uint32_t *length) {
  if (client->in_length < kHeader) return false;
  memcpy(length, client->in + 1, sizeof *length);
  const size_t whole = kHeader + *length;
  if (whole > sizeof client->in) {
    // No frame of ours is that long: who sends it does not speak this.
    client->in_length = 0;
    shutdown(client->fd, SHUT_RDWR);
    return false;
  }
  if (client->in_length < whole) return false;
  *kind = client->in[0];
  memcpy(frame_, client->in + kHeader, *length);
  *body = frame_;
  client->in_length -= whole;
  memmove(client->in, client->in + whole, client->in_length);
  return true;
}

Client *Clients::by_fd(int fd) {
  for (Client &client : clients_) {
    if (client.fd == fd) return &client;
  }
  return nullptr;
}
