/** One connection of a launcher: greeting, request, answer. */
import type { Socket } from 'node:net';
import type { Outcome } from '../cni/skel.ts';
import { peerOf } from '../netlink/unix.ts';
import type { Agent, WaitingCaller } from './agent.ts';
import type { Refusal } from './events.ts';
import { objection } from './identity.ts';
import { doneFrame, FRAME, frame, ProtocolError, RequestReader } from './protocol.ts';

/** Milliseconds for a request to arrive, and for an answer to be fetched, without a byte in between. */
const PATIENCE = 10_000;

/** What all connections share. */
export interface Reception {
  readonly agent: Agent;
  readonly greeting: Buffer;
  /** agent/identity.ts: standing(). */
  readonly standing: string;
  /** Why a connection ended that was no ordinary request. */
  odd(reason: string, why: Refusal): void;
  /** Whether another connection may hold so many bytes more; those of one that has ended are given back as a negative number. */
  mayHold(bytes: number): boolean;
}

type Stage = 'asking' | 'served' | 'ended';

export class Connection implements WaitingCaller {
  readonly #socket: Socket;
  readonly #reception: Reception;
  readonly #reader = new RequestReader();
  #held = 0;
  #stage: Stage = 'asking';
  readonly pid?: number;

  constructor(socket: Socket, reception: Reception) {
    this.#socket = socket;
    this.#reception = reception;
    // What is wrong with a connection shows as its end.
    socket.on('error', () => {});
    socket.on('close', () => this.#closed());
    const { fd = -1 } = (socket as Socket & { _handle?: { fd?: number } })._handle ?? {};
    const reason = objection(fd, reception.standing);
    if (reason !== undefined) {
      this.#drop(`a caller was sent away: ${reason}`, 'stranger');
      return;
    }
    this.pid = peerOf(fd).pid;
    socket.setTimeout(PATIENCE, () => this.#impatient());
    socket.on('data', (chunk) => this.#take(chunk));
    socket.write(reception.greeting);
  }

  /** The launcher has ended, or was ended. */
  get gone(): boolean {
    return this.#socket.destroyed;
  }

  log(text: string): void {
    this.#send(frame(FRAME.log, text));
  }

  begins(): void {
    this.#send(frame(FRAME.begins));
  }

  answer({ status, stdout, stderr }: Outcome): void {
    const done = doneFrame(status, stdout);
    this.#end(stderr === '' ? done : Buffer.concat([frame(FRAME.log, stderr), done]));
  }

  /** No request is served: one that has not arrived as a whole finds its way without us. */
  stop(): void {
    if (this.#stage === 'asking') this.#drop();
  }

  #take(chunk: Buffer): void {
    if (this.#stage !== 'asking') {
      this.#drop('bytes after the end of a request', 'protocol');
      return;
    }
    if (!this.#reception.mayHold(chunk.length)) {
      this.#drop('too many requests at once are too long', 'overload');
      return;
    }
    this.#held += chunk.length;
    try {
      const request = this.#reader.push(chunk);
      if (request === undefined) return;
      const reason = this.#reception.agent.objection(request);
      if (reason !== undefined) {
        this.#end(frame(FRAME.refused, reason));
        this.#reception.odd(`a request was left to the cold path: ${reason}`, 'request');
        return;
      }
      this.#stage = 'served';
      this.#socket.setTimeout(0);
      this.#reception.agent.serve(request, this).catch((error) => {
        // A mistake of ours: the cold path may do better, unless it has its answer.
        const reason = `a request failed: ${error instanceof Error ? error.stack : error}`;
        if (this.#stage === 'ended') this.#reception.odd(reason, 'request');
        else this.#drop(reason, 'request');
      });
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#drop(`a caller does not keep to the protocol: ${error.message}`, 'protocol');
    }
  }

  #send(bytes: Buffer): void {
    if (!this.gone) this.#socket.write(bytes);
  }

  #end(bytes: Buffer): void {
    this.#stage = 'ended';
    if (this.gone) return;
    this.#socket.setTimeout(PATIENCE);
    this.#socket.end(bytes);
  }

  #impatient(): void {
    this.#drop(
      this.#stage === 'asking' ? 'a caller sent no whole request' : 'a caller does not fetch its answer',
      'slow',
    );
  }

  #drop(reason?: string, why: Refusal = 'protocol'): void {
    this.#stage = 'ended';
    if (reason !== undefined) this.#reception.odd(reason, why);
    this.#socket.destroy();
  }

  #closed(): void {
    if (this.#stage === 'asking') {
      this.#reception.odd(
        'a caller went away after our greeting: it is of another build, or stands elsewhere',
        'declined',
      );
    }
    this.#reception.mayHold(-this.#held);
    this.#held = 0;
  }
}
