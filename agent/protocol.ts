/**
 * What launcher (bin/launcher/ask.cc) and agent say to each other over `<runDir>/agent.sock`, one connection for each request:
 *
 * 1. The agent greets at once with its identity (agent/identity.ts). The launcher compares it with its own, byte by byte: protocol,
 *    bundle, network namespace, mount namespace and root folder must be the same. It waits for this alone with a bound.
 * 2. The launcher sends its request: two lengths (all, and all words), words that end with a zero byte (the name it was
 *    called by, its file's name, device and inode of what CNI_NETNS is to it, the environment), and standard input.
 * 3. The agent answers in frames: any number of lines for stderr, at most one "begins", and the end: refused or done.
 *    A connection that ends before sends the launcher on the cold path; after "begins" that clears away first.
 *
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
const LONGEST_REQUEST = 24 * 1024 * 1024;

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

export function frame(kind: string, contents: string | Uint8Array = ''): Buffer {
  const bytes = Buffer.from(contents);
  const head = Buffer.alloc(5);
  head.write(kind, 'latin1');
  writeLength(head, bytes.length, 1);
  return Buffer.concat([head, bytes]);
}

export function doneFrame(status: number, stdout: string): Buffer {
  return frame(FRAME.done, Buffer.concat([Uint8Array.of(status & 0xff), Buffer.from(stdout)]));
}

/** The machine's order of bytes: both sides run on it. */
const BIG_ENDIAN = new Uint8Array(Uint16Array.of(1).buffer)[0] === 0;

function writeLength(into: Buffer, length: number, at: number): void {
  if (BIG_ENDIAN) into.writeUInt32BE(length, at);
  else into.writeUInt32LE(length, at);
}

function readLength(from: Buffer, at: number): number {
  return BIG_ENDIAN ? from.readUInt32BE(at) : from.readUInt32LE(at);
}

/** The bytes of a request, as the launcher writes them; for tests. */
export function encodeRequest({ names, netns, env, input }: Request): Buffer {
  const list = [...names, netns, ...Object.entries(env).map(([key, value]) => `${key}=${value}`)];
  const words = Buffer.from(list.map((word) => `${word}\0`).join(''));
  const rest = Buffer.from(input);
  const head = Buffer.alloc(8);
  writeLength(head, words.length + rest.length, 0);
  writeLength(head, words.length, 4);
  return Buffer.concat([head, words, rest]);
}

const HEAD = 8;

/** Gathers one request; memory grows with what has arrived, not with what was announced. */
export class RequestReader {
  #chunks: Buffer[] = [];
  #size = 0;
  #wanted = HEAD;
  #words = 0;

  /** Bytes that are held. */
  get size(): number {
    return this.#size;
  }

  /** The request, once it is whole. Throws ProtocolError. */
  push(chunk: Buffer): Request | undefined {
    this.#chunks.push(chunk);
    this.#size += chunk.length;
    if (this.#wanted === HEAD && this.#size >= HEAD) this.#readHead();
    if (this.#size > this.#wanted) throw new ProtocolError('bytes after the end of the request');
    return this.#size < this.#wanted || this.#wanted === HEAD ? undefined : this.#parse();
  }

  #readHead(): void {
    const head = Buffer.concat(this.#chunks);
    const length = readLength(head, 0);
    this.#words = readLength(head, 4);
    if (length > LONGEST_REQUEST) throw new ProtocolError(`request of ${length} bytes`);
    if (this.#words > length || this.#words < 3) throw new ProtocolError(`${this.#words} bytes of words`);
    this.#wanted = HEAD + length;
  }

  #parse(): Request {
    const bytes = this.#chunks.length === 1 ? (this.#chunks[0] as Buffer) : Buffer.concat(this.#chunks);
    const words = bytes.toString('utf8', HEAD, HEAD + this.#words).split('\0');
    if (words.pop() !== '') throw new ProtocolError('the last word has no end');
    const [calledAs, file, netns, ...entries] = words;
    if (calledAs === undefined || file === undefined || netns === undefined) {
      throw new ProtocolError('names or namespace are missing');
    }
    return {
      names: [calledAs, file],
      netns,
      env: environment(entries),
      input: bytes.toString('utf8', HEAD + this.#words),
    };
  }
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
