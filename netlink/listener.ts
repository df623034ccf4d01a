/**
 * A Unix socket that takes one request from each connection, in the native core (netlink/native/listener.cc): it takes callers in, looks at who
 * they are, greets, gathers a request, and sends what it is answered. JavaScript runs once for each request, when it is whole.
 */
import { loadNative, withCode } from './native.ts';

/** Why a caller was not served, as the native core numbers them, from 1. */
const ODDITIES = ['request', 'stranger', 'declined', 'protocol', 'slow', 'overload'] as const;
export type Oddity = Exclude<(typeof ODDITIES)[number], 'request'>;

export interface ListenerOptions {
  /** What a request must begin with, and who connects is greeted with. */
  identity: string;
  /** More callers at once are sent away. */
  mostCallers: number;
  /** Bytes of requests at once, and of one. */
  mostHeld: number;
  longest: number;
  /** Milliseconds for a request to arrive, and for an answer to be fetched, without a byte in between. */
  patience: number;
}

export interface ListenerHooks {
  /** A request is whole. `words` are separated by zero bytes; the identity in front of them is taken off. Must not throw. */
  request(caller: ListenerCaller, words: string, input: string): void;
  /** A connection ended that was no request; words for people. Must not throw. */
  odd(reason: string, why: Oddity): void;
}

/** Listens until it is closed, and keeps the process alive as long. */
export class RequestListener {
  readonly #id: number;

  /** On a path where nothing is. Throws an Error with `code`. */
  constructor(path: string, options: ListenerOptions, hooks: ListenerHooks) {
    const { identity, mostCallers, mostHeld, longest, patience } = options;
    const limits = Uint32Array.of(mostCallers, mostHeld, longest, patience);
    try {
      this.#id = loadNative().openListener(path, identity, limits, (why, caller, words, input, pid) => {
        const oddity = ODDITIES[why] ?? 'protocol';
        if (oddity === 'request') hooks.request(new ListenerCaller(this.#id, caller, pid), words, input);
        else hooks.odd(words, oddity);
      });
    } catch (error) {
      throw withCode(error, `listen on ${path}`);
    }
  }

  /** Takes nobody in any more, and ends those who have not asked yet; requests under way are still answered. Idempotent. */
  close(): void {
    loadNative().closeListener(this.#id);
  }
}

const NO_STATUS = 256;

/** Who has sent a request. What it is sent when it has gone is lost, without an error. */
export class ListenerCaller {
  readonly #listener: number;
  readonly #number: number;
  /** Of the process that has connected. */
  readonly pid: number;

  constructor(listener: number, number: number, pid: number) {
    this.#listener = listener;
    this.#number = number;
    this.pid = pid;
  }

  /** Whether it has ended, or was ended; the kernel is asked. */
  get gone(): boolean {
    return loadNative().callerIsGone(this.#listener, this.#number);
  }

  /**
   * Sends a frame.
   * @param kind one letter
   */
  send(kind: string, text = ''): void {
    loadNative().writeCaller(this.#listener, this.#number, kind.charCodeAt(0), NO_STATUS, text, false);
  }

  /** Sends the last frame, `status` in one byte before its text, and closes when all is sent. */
  end(kind: string, text: string, status = NO_STATUS): void {
    loadNative().writeCaller(this.#listener, this.#number, kind.charCodeAt(0), status, text, true);
  }

  /** Closes the connection without another word. Idempotent. */
  drop(): void {
    loadNative().dropCaller(this.#listener, this.#number);
  }
}
