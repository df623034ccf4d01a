/**
 * BIRD's control socket, and what it answers. A line is `1002-text` (more follows), `0000 text` (the last), or ` text` (as the line
 * before); codes from 8000 on are errors (BIRD's sources, doc/reply_codes).
 */
import type { Socket } from 'node:net';

/** One line of an answer. */
export interface ReplyLine {
  code: number;
  text: string;
}

/** BIRD refused; the message has its own words. */
export class BirdRefusal extends Error {
  override readonly name = 'BirdRefusal';
}

interface Waiting {
  lines: ReplyLine[];
  resolve(lines: ReplyLine[]): void;
  reject(error: Error): void;
}

/** Milliseconds; a daemon that answers later than this is as good as dead. */
const PATIENCE = 4000;

export class BirdControl {
  readonly #socket: Socket;
  /** Answers come in the order of the questions; the greeting is the first. */
  readonly #waiting: Waiting[] = [];
  #rest = '';
  #code = 0;
  #error: Error | undefined;

  readonly #patience: number;

  private constructor(socket: Socket, patience: number) {
    this.#socket = socket;
    this.#patience = patience;
    socket.setEncoding('utf8');
    socket.on('data', (text: string) => this.#take(text));
    socket.on('error', (error) => this.#fail(error));
    socket.on('close', () => this.#fail(new Error('BIRD has closed its control socket')));
  }

  /** Connects, and waits for the greeting. `patience`: milliseconds for each answer. Throws Node's error (ENOENT, ECONNREFUSED) where nobody listens. */
  static async open(path: string, patience = PATIENCE): Promise<BirdControl> {
    const { createConnection } = await import('node:net');
    const control = new BirdControl(createConnection(path), patience);
    await control.#answer();
    return control;
  }

  /** Called once, when BIRD has ended or this was closed; at once when that is past. */
  onEnd(listener: () => void): void {
    if (this.#error) listener();
    else this.#socket.once('close', listener);
  }

  /** One command, and all lines of its answer. Throws BirdRefusal, or Error when BIRD ends or is silent for too long. */
  async ask(command: string): Promise<ReplyLine[]> {
    if (this.#error) throw this.#error;
    this.#socket.write(`${command}\n`);
    const lines = await this.#answer();
    const refusal = lines.find(({ code }) => code >= 8000);
    if (refusal) throw new BirdRefusal(`BIRD refuses "${command}": ${refusal.text}`);
    return lines;
  }

  close(): void {
    this.#socket.destroy();
  }

  async #answer(): Promise<ReplyLine[]> {
    const timer = setTimeout(
      () => this.#socket.destroy(new Error(`BIRD does not answer within ${this.#patience / 1000} seconds`)),
      this.#patience,
    );
    try {
      return await new Promise((resolve, reject) => {
        if (this.#error) reject(this.#error);
        else this.#waiting.push({ lines: [], resolve, reject });
      });
    } finally {
      clearTimeout(timer);
    }
  }

  #take(text: string): void {
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines) {
      const [, digits, mark = ' ', rest = line.slice(1)] = /^(\d{4})([- ])(.*)$/.exec(line) ?? [];
      if (digits !== undefined) this.#code = Number(digits);
      const current = this.#waiting[0];
      current?.lines.push({ code: this.#code, text: rest });
      if (digits !== undefined && mark === ' ') this.#waiting.shift()?.resolve(current?.lines ?? []);
    }
  }

  #fail(error: Error): void {
    this.#error ??= error;
    for (const { reject } of this.#waiting.splice(0)) reject(this.#error);
  }
}

/** What BIRD says of one protocol. */
export interface BirdProtocol {
  name: string;
  kind: string;
  /** `up`, `start`, `down`. */
  state: string;
  /** Milliseconds since the epoch, of the last change. */
  since: number;
  /** For BGP: `Established`, `Active`, `Connect`, `Idle`; and the last error after that. */
  info: string;
  error: string | undefined;
  /** Sums over its channels. */
  imported: number;
  exported: number;
}

/**
 * `1002-NAME BGP --- up 2026-11-21 00:26:16 Established` and 1006 lines of details (`show protocols all`), with times as
 * `timeformat protocol iso long` writes them: of this machine's time zone.
 */
export function parseProtocols(lines: readonly ReplyLine[]): BirdProtocol[] {
  const found: BirdProtocol[] = [];
  for (const { code, text } of lines) {
    if (code === 1002) {
      const [, name, kind, state, day, time, info = ''] =
        /^(\S+)\s+(\S+)\s+\S+\s+(\S+)\s+(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)\S*\s*(.*)$/.exec(text) ?? [];
      if (name === undefined || kind === undefined || state === undefined) continue;
      const [word = '', ...words] = info.trim().split(/\s{2,}/);
      found.push({
        ...{ name, kind, state, since: Date.parse(`${day}T${time}`), info: word },
        ...{ error: words.join(' ') || undefined, imported: 0, exported: 0 },
      });
    } else if (code === 1006) {
      const protocol = found.at(-1);
      const [, imported, exported] = /Routes:\s+(\d+) imported,.* (\d+) exported/.exec(text) ?? [];
      if (protocol === undefined) continue;
      protocol.imported += Number(imported ?? 0);
      protocol.exported += Number(exported ?? 0);
    }
  }
  return found;
}
