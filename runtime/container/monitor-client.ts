/** Talks with a container's monitor (runtime/native/clients.h): the one that starts it by a descriptor, others by its socket. */
import type { Duplex } from 'node:stream';

/** What a monitor tells. */
export type Told =
  /** Everything is made; it waits for `start`. */
  | { kind: 'created'; pid: number }
  /** The command runs. */
  | { kind: 'began' }
  /** The step that failed, by its number in the list, and the kernel's errno. */
  | { kind: 'failed'; step: number; errno: number }
  | { kind: 'output'; stream: 'stdout' | 'stderr'; data: Buffer }
  | { kind: 'ended'; status: number };

const HEADER = 5;
/** Bytes of input that may be on their way: more waits where it comes from. */
const MOST_TYPED = 256 * 1024;

function read(kind: string, body: Buffer): Told | undefined {
  const words = () => body.toString('latin1').split(' ').map(Number);
  if (kind === 'C') return { kind: 'created', pid: words()[0] ?? 0 };
  if (kind === 'B') return { kind: 'began' };
  if (kind === 'F') {
    const [step = 0, errno = 0] = words();
    return { kind: 'failed', step, errno };
  }
  if (kind === 'O') return { kind: 'output', stream: 'stdout', data: body };
  if (kind === 'R') return { kind: 'output', stream: 'stderr', data: body };
  return kind === 'X' ? { kind: 'ended', status: words()[0] ?? 0 } : undefined;
}

export class MonitorClient {
  readonly #stream: Duplex;
  /** Bytes of input that the container has not taken yet. */
  #typed = 0;
  #onRoom = () => {};

  constructor(stream: Duplex) {
    this.#stream = stream;
    // Its end is seen by who reads.
    stream.on('error', () => undefined);
  }

  /** What it tells, until it ends or the connection does. Reading slowly holds the container's output up; nothing is lost. */
  async *told(): AsyncGenerator<Told, void> {
    let rest: Buffer = Buffer.alloc(0);
    try {
      for await (const chunk of this.#stream as AsyncIterable<Buffer>) {
        rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
        while (rest.length >= HEADER && rest.length >= HEADER + rest.readUInt32LE(1)) {
          const end = HEADER + rest.readUInt32LE(1);
          const kind = String.fromCharCode(rest[0] ?? 0);
          const told = read(kind, rest.subarray(HEADER, end));
          if (kind === 'Y') this.#taken(rest.readUInt32LE(HEADER));
          rest = rest.subarray(end);
          if (told) yield told;
        }
      }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ECONNRESET') throw error;
    }
  }

  #send(kind: string, body: Uint8Array = Buffer.alloc(0)): void {
    const frame = Buffer.alloc(HEADER + body.length);
    frame.write(kind, 'latin1');
    frame.writeUInt32LE(body.length, 1);
    frame.set(body, HEADER);
    if (!this.#stream.destroyed) this.#stream.write(frame);
  }

  /** From now on its output comes here, too. */
  attach(): void {
    this.#send('A');
  }

  start(): void {
    this.#send('S');
  }

  /** The container stays when this connection ends before it began. */
  letStay(): void {
    this.#send('D');
  }

  /** What is to be done when it has ended is done here, as long as this connection stands. */
  careForEnd(): void {
    this.#send('Q');
  }

  /** Returns whether it can take more at once; if not, `onRoom` says when. `told` must be read for that. */
  input(data: Uint8Array): boolean {
    const most = 32_768;
    for (let at = 0; at < data.length; at += most) this.#send('I', data.subarray(at, at + most));
    this.#typed += data.length;
    return this.#typed < MOST_TYPED;
  }

  onRoom(room: () => void): void {
    this.#onRoom = room;
  }

  #taken(count: number): void {
    const full = this.#typed >= MOST_TYPED;
    this.#typed -= count;
    if (full && this.#typed < MOST_TYPED) this.#onRoom();
  }

  endInput(): void {
    this.#send('E');
  }

  resize(rows: number, columns: number): void {
    const body = Buffer.alloc(4);
    body.writeUInt16LE(rows);
    body.writeUInt16LE(columns, 2);
    this.#send('W', body);
  }

  /** To the container's first process. */
  signal(number: number): void {
    this.#send('K', Uint8Array.of(number));
  }

  /** Resolves when everything that was said is on its way. */
  async finish(): Promise<void> {
    await new Promise<void>((resolve) => this.#stream.end(resolve));
    this.#stream.destroy();
  }

  /** The monitor lets go of who says nothing more: then `told` ends. */
  leave(): void {
    this.#stream.end();
  }

  close(): void {
    this.#stream.end();
    this.#stream.destroy();
  }
}
