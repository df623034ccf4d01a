/**
 * What launcher (bin/launcher/ask.cc) and agent (netlink/native/listener.cc) say to each other over `<runDir>/agent.sock`, one connection
 * for each request. Both speak at once: one way there and one way back.
 *
 * 1. The agent greets who connects with its identity (agent/identity.ts): protocol, bundle, network namespace, mount namespace and root
 *    folder. The launcher compares it with its own, byte by byte. It waits for this alone with a bound.
 * 2. The launcher has sent its request meanwhile: two lengths (all, and all words), words that end with a zero byte (its identity,
 *    `dev:inode ` of what CNI_NETNS is to it, the name it was called by, its file's name, the environment), and standard input.
 *    The agent compares the identity with its own, and serves no other.
 * 3. The agent answers in frames: any number of lines for stderr, at most one "begins", and the end: refused or done.
 *    A connection that ends before sends the launcher on the cold path; after "begins" that clears away first.
 *
 * A launcher that waits for the greeting in vain shuts the connection, and then looks whether the greeting has come after all. An
 * agent serves nobody whom it could not greet: so either the launcher knows that it may be served, or it never will be.
 *
 * An agent of protocol 1 takes identity and namespace for the names of plugins that it does not know, and refuses.
 * Numbers are of four bytes, in the machine's order. A frame is its kind, the length of its contents, its contents.
 */

export const FRAME = {
  greeting: 'H',
  /** Not served, nothing was touched; contents: why, for people. */
  refused: 'R',
  /** From here on the host is changed. */
  begins: 'B',
  /** Text for stderr. */
  log: 'E',
  /** Exit status in one byte, then the text for stdout. */
  done: 'D',
} as const;

/** Bytes. A configuration has 16 MiB at most (runtime/ambient.ts), an environment 6 MiB (execve(2)). */
export const LONGEST_REQUEST = 24 * 1024 * 1024;

export interface Request {
  /** Names that may say which plugin is meant, in order. */
  names: readonly [calledAs: string, file: string];
  /** `dev:inode ` of what CNI_NETNS is to the caller, empty where there is nothing. */
  netns: string;
  env: Readonly<Record<string, string>>;
  /** Standard input. */
  input: string;
}

/** The other side does not keep to the protocol. */
export class ProtocolError extends Error {
  override readonly name = 'ProtocolError';
}

/** @param words those of a request after its identity, separated by zero bytes. Throws ProtocolError. */
export function parseRequest(words: string, input: string): Request {
  const [netns, calledAs, file, ...entries] = words.split('\0');
  if (netns === undefined || calledAs === undefined || file === undefined) {
    throw new ProtocolError('names or namespace are missing');
  }
  return { names: [calledAs, file], netns, env: environment(entries), input };
}

/** As getenv(3) has it, the first of two entries of one name counts. */
function environment(entries: readonly string[]): Record<string, string> {
  const env: Record<string, string> = Object.create(null);
  for (const entry of entries) {
    const end = entry.indexOf('=');
    if (end <= 0) continue;
    const key = entry.slice(0, end);
    env[key] ??= entry.slice(end + 1);
  }
  return env;
}
