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

// Standard input, once it has been read: the cold path gets it again.
struct Input {
  char *bytes;
  size_t length;
  bool read;
};

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

// Hands the request over to the agent of this host. Reads standard input only when an agent is there.
Asked ask_agent(const Self &self, Input *input, int *status);

// Does what weft-oci is asked for, where it is ordinary. False when that is left to Node, with the words as they are then.
bool serve_runtime(int *argc, char ***argv);

// Becomes Node. Returns the exit status when it cannot. `half_done`: see kBrokenHalfDone.
int run_cold(const Self &self, const Input &input, int argc, char **argv, bool half_done);

// Counts a request that an agent might have served: 'a' none listens, 's' none greets, 'o' it is another's, 'r' it did not take the
// request, 'b' it went away in the middle.
void note_fallback(char reason);

// The environment without the entries whose name begins with `prefix`.
void drop_variables(const char *prefix);

// Tells an error as the specification wants it, or to a person; returns the exit status.
int fail(const char *what, const char *path, const char *remedy);
