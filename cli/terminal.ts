/** Where the command's output goes. The one place of the command that touches the process itself. */
import process from 'node:process';
import { isatty, ReadStream, WriteStream } from 'node:tty';
import { tryWriteAll } from '../runtime/write-all.ts';

export interface Terminal {
  /** Text for the person or the next program. */
  out(text: string): void;
  /** Text about the work: errors, hints, progress. */
  err(text: string): void;
  /** Whether something could not be written (a full disk): then the command has not done what was asked. */
  lost?(): boolean;
  /** Whether colour may be used: standard output is a terminal, and NO_COLOR (no-color.org) is not set. */
  readonly color: boolean;
  /** Calls `handler` at SIGINT or SIGTERM until the returned function is called. */
  onInterrupt(handler: (signal: NodeJS.Signals) => void): () => void;
  /** The terminal as a screen with a keyboard; undefined where standard input or output is something else. */
  screen?(): Screen | undefined;
}

export interface Screen {
  /** Characters; they change when the window does. */
  size(): { columns: number; rows: number };
  /** Hands over what is typed, key by key and unseen, until the returned function is called. */
  onKey(handler: (key: string) => void): () => void;
}

export function realTerminal(env: Readonly<Record<string, string | undefined>>): Terminal {
  let lost = false;
  const err = (text: string) => void tryWriteAll(2, text);
  return {
    out(text) {
      // Nothing is thrown: what began must come to its end, a demonstration has to be taken away.
      const code = tryWriteAll(1, text);
      if (code !== undefined && !lost) err(`weft: cannot write to standard output: ${code}\n`);
      lost ||= code !== undefined;
    },
    err,
    lost: () => lost,
    color: isatty(1) && !env.NO_COLOR && env.TERM !== 'dumb',
    onInterrupt: (handler) => {
      const signals = ['SIGINT', 'SIGTERM'] as const;
      for (const signal of signals) process.on(signal, handler);
      return () => {
        for (const signal of signals) process.off(signal, handler);
      };
    },
    screen: () => (isatty(0) && isatty(1) && env.TERM !== 'dumb' ? realScreen() : undefined),
  };
}

function realScreen(): Screen {
  return {
    size: () => {
      // Asked anew each time: nobody has to listen for SIGWINCH.
      const window = new WriteStream(1);
      const { columns, rows } = window;
      window.destroy();
      return { columns: columns || 80, rows: rows || 24 };
    },
    onKey: (handler) => {
      const keyboard = new ReadStream(0);
      keyboard.setRawMode(true);
      keyboard.on('data', (typed: Buffer) => {
        for (const key of typed.toString('utf8')) handler(key);
      });
      return () => {
        keyboard.setRawMode(false);
        keyboard.destroy();
      };
    },
  };
}
