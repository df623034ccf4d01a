// The launcher's parts. No exceptions, no iostream, no allocation that is not checked: it must start in no time.
#pragma once

#include <limits.h>
#include <stddef.h>

// Where the executable lies and how it was called.
struct Self {
  // The folder of the executable's own file, without a slash at its end.
  char home[PATH_MAX];
  // The name it was called by, and its file's name: the first that is a plugin's says what is meant.
  const char *called_as;
  const char *file;
};

// What the agent is asked.
struct Request {
  char *bytes;
  // `input`: where standard input begins in it, once that has been read: the cold path gets it again.
  size_t length, input, room;
  bool read;
};

// As MAX_INPUT in runtime/ambient.ts; what is longer is refused there.
constexpr size_t kLongestInput = 16u << 20;

// What became of a question to the agent.
enum Asked {
  // Not taken, nothing was touched: the cold path serves it.
  kNotTaken,
  // Taken, but the agent went away before it answered. It may have touched something.
  kBroken,
  // The same, and it said that it begins to change the host: what it left must be cleared away first.
  kBrokenHalfDone,
  // Answered and printed; `status` is the exit status.
  kAnswered,
};

// What an agent's greeting must be, to the byte: protocol, bundle (device, inode, time of change, size), and the network namespace, mount
// namespace and root folder of the caller. Returns its length, less than kLongestIdentity; 0 when something cannot be looked at.
constexpr size_t kLongestIdentity = 512;
size_t own_identity(const Self &self, char *text);

// The words, each ends with a zero byte: identity, namespace, names, environment. False when there is no memory for them.
bool begin_request(const Self &self, const char *identity, Request *request);

// Standard input behind them, to its end, but not far beyond kLongestInput; false when there is no memory. A closed one reads as empty.
bool finish_request(Request *request);

// Hands the request over to the agent of this host. Reads standard input only when an agent is there.
Asked ask_agent(const Self &self, Request *request, int *status);

// Does what weft-oci is asked for, where it is ordinary. False when that is left to Node, with the words as they are then.
bool serve_runtime(int *argc, char ***argv);

// Becomes Node. Returns the exit status when it cannot. `half_done`: see kBrokenHalfDone.
int run_cold(const Self &self, const Request &request, int argc, char **argv, bool half_done);

// Counts a request that an agent might have served: 'a' none listens, 's' none greets, 'o' it is another's, 'r' it did not take the
// request, 'b' it went away in the middle.
void note_fallback(char reason);

// The environment without the entries whose name begins with `prefix`.
void drop_variables(const char *prefix);

// Tells an error as the specification wants it, or to a person; returns the exit status.
int fail(const char *what, const char *path, const char *remedy);
