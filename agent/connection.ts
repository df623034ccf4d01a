/** One request of a launcher: whether it is served, and its answer. */
import type { Outcome } from '../cni/skel.ts';
import type { ListenerCaller } from '../netlink/listener.ts';
import type { Agent, WaitingCaller } from './agent.ts';
import type { Refusal } from './events.ts';
import { FRAME, ProtocolError, parseRequest } from './protocol.ts';

/** What all connections share. */
export interface Reception {
  readonly agent: Agent;
  /** Why a connection ended that was no ordinary request. */
  odd(reason: string, why: Refusal): void;
}

/** Takes what a launcher has sent: serves it, or says why not. */
export function take(caller: ListenerCaller, words: string, input: string, reception: Reception): void {
  const { agent, odd } = reception;
  try {
    const request = parseRequest(words, input);
    const reason = agent.objection(request);
    if (reason !== undefined) {
      caller.end(FRAME.refused, reason);
      odd(`a request was left to the cold path: ${reason}`, 'request');
      return;
    }
    const connection = new Connection(caller);
    agent.serve(request, connection).catch((error) => {
      // The cold path may do better, unless the caller has its answer.
      if (!connection.answered) caller.drop();
      odd(mistake(error), 'request');
    });
  } catch (error) {
    caller.drop();
    if (error instanceof ProtocolError)
      odd(`a caller does not keep to the protocol: ${error.message}`, 'protocol');
    else odd(mistake(error), 'request');
  }
}

/** One of ours, for people. */
const mistake = (error: unknown) =>
  `a request failed: ${error instanceof Error ? error.stack : String(error)}`;

class Connection implements WaitingCaller {
  readonly #caller: ListenerCaller;
  answered = false;

  constructor(caller: ListenerCaller) {
    this.#caller = caller;
  }

  get pid(): number {
    return this.#caller.pid;
  }

  /** The launcher has ended, or was ended. */
  get gone(): boolean {
    return this.#caller.gone;
  }

  log(text: string): void {
    this.#caller.send(FRAME.log, text);
  }

  begins(): void {
    this.#caller.send(FRAME.begins);
  }

  answer({ status, stdout, stderr }: Outcome): void {
    this.answered = true;
    if (stderr !== '') this.log(stderr);
    this.#caller.end(FRAME.done, stdout, status & 0xff);
  }
}
