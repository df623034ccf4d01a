/** Between this terminal and a container: what is typed goes in, its output comes out, signals are passed on. */
import { constants } from 'node:os';
import process from 'node:process';
import { isatty, ReadStream, WriteStream } from 'node:tty';
import type { MonitorClient, Told } from '../../runtime/container/monitor-client.ts';
import { writeAll } from '../../runtime/write-all.ts';
import type { WeftContext } from '../context.ts';

const PASSED = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2'] as const;

export interface Relayed {
  /** Of the container; undefined when its monitor went away without a word. */
  status: number | undefined;
  /** The terminal here was closed: the container has been told, and is left to itself. */
  left?: boolean;
  /** Why its output could not be written here: then it was ended, as a program is whose reader went away. */
  unwritten?: string;
}

/** The size of this terminal; undefined where standard output is none. */
export function windowSize(): { rows: number; columns: number } | undefined {
  if (!isatty(1)) return undefined;
  const window = new WriteStream(1);
  const { rows, columns } = window;
  window.destroy();
  return { rows: rows || 24, columns: columns || 80 };
}

/** Until the container ends. `input`: what is typed here is for it; `terminal`: it has a terminal, so ours passes every key. */
export async function relay(
  client: MonitorClient,
  told: AsyncGenerator<Told, void>,
  options: { input: boolean; terminal: boolean },
): Promise<Relayed> {
  const forget = [
    ...(options.input ? [passInput(client, options.terminal)] : []),
    ...(options.terminal ? [passSize(client)] : []),
    passSignals(client),
    ...(options.terminal ? [onHangUp(leave)] : []),
  ];
  let left = false;
  function leave(): void {
    left = true;
    // As a program ends whose terminal goes. Node's own end would set the terminal back, which aborts where it is gone.
    process.once('exit', () => process.kill(process.pid, 'SIGHUP'));
    client.endInput();
    client.leave();
  }
  try {
    let unwritten: string | undefined;
    for await (const one of told) {
      if (one.kind === 'output' && unwritten === undefined) {
        const code = writeAll(one.stream === 'stdout' ? 1 : 2, one.data);
        // Nobody is at a closed terminal; its end is told by a signal.
        if (options.terminal && code === 'EIO') continue;
        unwritten = code;
        if (unwritten !== undefined) client.signal(constants.signals.SIGKILL);
      }
      if (one.kind !== 'ended') continue;
      if (unwritten === undefined) return { status: one.status };
      return { status: 128 + constants.signals.SIGPIPE, unwritten };
    }
    return left ? { status: 128 + constants.signals.SIGHUP, left } : { status: undefined };
  } finally {
    for (const stop of forget) stop();
    client.close();
  }
}

/** A reader that went away wants no words either. */
export function sayUnwritten({ terminal }: WeftContext, code: string | undefined): void {
  if (code !== undefined && code !== 'EPIPE')
    terminal.err(`weft: the output of the command cannot be written: ${code}; it was ended\n`);
}

function passInput(client: MonitorClient, terminal: boolean): () => void {
  if (isatty(0)) {
    const keyboard = new ReadStream(0);
    if (terminal) keyboard.setRawMode(true);
    const typed = (data: Buffer) => {
      if (!client.input(data)) keyboard.pause();
    };
    keyboard.on('data', typed).on('end', () => client.endInput());
    // The terminal is gone.
    keyboard.on('error', () => client.endInput());
    client.onRoom(() => keyboard.resume());
    return () => {
      if (terminal) keyboard.setRawMode(false);
      keyboard.destroy();
    };
  }
  const { stdin } = process;
  const onData = (data: Buffer) => {
    if (!client.input(data)) stdin.pause();
  };
  client.onRoom(() => stdin.resume());
  const onEnd = () => client.endInput();
  stdin.on('data', onData).on('end', onEnd);
  return () => {
    stdin.off('data', onData).off('end', onEnd);
    stdin.pause();
    stdin.unref?.();
  };
}

function passSize(client: MonitorClient): () => void {
  const tell = () => {
    const size = windowSize();
    if (size) client.resize(size.rows, size.columns);
  };
  tell();
  process.on('SIGWINCH', tell);
  return () => void process.off('SIGWINCH', tell);
}

/** Registered behind passSignals: the container hears of it first. */
function onHangUp(leave: () => void): () => void {
  process.on('SIGHUP', leave);
  return () => void process.off('SIGHUP', leave);
}

function passSignals(client: MonitorClient): () => void {
  const handlers = PASSED.map((name) => {
    const pass = () => client.signal(constants.signals[name]);
    process.on(name, pass);
    return () => void process.off(name, pass);
  });
  return () => {
    for (const stop of handlers) stop();
  };
}
