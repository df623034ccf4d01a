/**
 * One application of a plan: collects operations, sends them in runs as long as possible (one native call for each), keeps what it
 * learnt about links, and remembers how to undo what it did.
 */
import { NetlinkError, type Op, type Reply } from '../netlink/door.ts';
import { getLink, type Link } from '../netlink/link.ts';
import { explainError } from './failure.ts';
import type { Plan, Where } from './step.ts';
import { namespaceOf, place, type Surroundings } from './surroundings.ts';

/** A link as the engine knows it. Fields that are missing were not asked for yet. */
export type KnownLink = Pick<Link, 'index'> & { mac?: string | undefined; mtu?: number | undefined };

export interface Hooks<T> {
  /** Runs when the answer is there; not when a later operation of the same run failed. */
  reply?(reply: Reply<T>): void;
  /** Takes back what the operation did. Must be possible without its answer, and tolerate that nothing is left. */
  undo?: { what: string; undo(): Promise<unknown> };
  /** The operation has several messages: `undo` is due also when it failed, unless at its first one, with EEXIST. */
  partly?: boolean;
  /** An error better than the general one, or undefined. */
  explain?(error: NetlinkError): Error | undefined;
  /** Mends the cause of an error; true: the operation is sent once more. */
  recover?(error: NetlinkError): Promise<boolean>;
}

interface Queued extends Hooks<unknown> {
  where: Where;
  op: Op;
}

/** Thrown when something that was seen is gone at the next look: the whole plan is applied once more. */
export class Vanished extends Error {
  override readonly name = 'Vanished';
  readonly error: unknown;
  constructor(error: unknown) {
    super('a link vanished between two looks');
    this.error = error;
  }
}

export class Run {
  readonly plan: Plan;
  readonly surroundings: Surroundings;
  #queue: Queued[] = [];
  #undo: { what: string; undo(): Promise<unknown> }[] = [];
  #ends: (() => Promise<void>)[] = [];
  #links = new Map<string, KnownLink>();
  #memory = new Map<string, unknown>();

  /** `known` is what an earlier application of the same attachment learnt. */
  constructor(plan: Plan, surroundings: Surroundings, known: Readonly<Record<string, KnownLink>> = {}) {
    this.plan = plan;
    this.surroundings = surroundings;
    for (const [key, link] of Object.entries(known)) this.#links.set(key, link);
  }

  /** Adds an operation to the current run. */
  push<T>(where: Where, op: Op<T>, hooks: Hooks<T> = {}): void {
    this.#queue.push({ where, op, ...(hooks as Hooks<unknown>) });
  }

  /** Sends what is queued before the operation, and the operation, and waits for the answer. */
  async ask<T>(where: Where, op: Op<T>, hooks: Hooks<T> = {}): Promise<Reply<T>> {
    let answer: Reply<T> | undefined;
    this.push(where, op, {
      ...hooks,
      reply: (reply) => {
        answer = reply;
        hooks.reply?.(reply);
      },
    });
    await this.#sendUntil(where);
    if (!answer) throw new Error(`no answer to: ${op.what}`);
    return answer;
  }

  /** Asks once for what several steps want to know. */
  async once<T>(key: string, ask: () => Promise<T>): Promise<T> {
    const known = this.#memory.get(key) as { answer: T } | undefined;
    if (known) return known.answer;
    const answer = await ask();
    this.#memory.set(key, { answer });
    return answer;
  }

  async flush(): Promise<void> {
    await this.#sendUntil('container');
  }

  /**
   * What happens in the container may need what was made on the host before, never the other way round. So operations on
   * the host go first, and those in the container wait until one of them is asked for: that makes long runs.
   */
  async #sendUntil(last: Where): Promise<void> {
    for (const where of last === 'host' ? (['host'] as const) : (['host', 'container'] as const)) {
      const due = this.#queue.filter((queued) => queued.where === where);
      this.#queue = this.#queue.filter((queued) => queued.where !== where);
      if (due.length > 0) await this.#send(where, due);
    }
  }

  async #send(where: Where, operations: readonly Queued[]): Promise<void> {
    try {
      const replies = await namespaceOf(this.surroundings, where).send(...operations.map(({ op }) => op));
      operations.forEach((operation, i) => {
        const reply = replies[i] as Reply<unknown>;
        if (reply.ok) this.#keepUndo(operation);
        operation.reply?.(reply);
      });
    } catch (error) {
      if (!(error instanceof NetlinkError)) throw error;
      const done = operations.slice(0, error.index);
      done.forEach((operation) => {
        this.#keepUndo(operation);
      });
      const failed = operations[error.index];
      if (failed?.partly && error.errno !== 'EEXIST') this.#keepUndo(failed);
      // The answers of what went before are lost, so only a run that needs none of them can go on.
      if (failed?.recover && !done.some(({ reply }) => reply) && (await failed.recover(error))) {
        const { recover: _, ...again } = failed;
        return await this.#send(where, [again, ...operations.slice(error.index + 1)]);
      }
      throw failed?.explain?.(error) ?? explainError(error);
    }
  }

  #keepUndo({ undo }: Queued): void {
    if (undo) this.#undo.push(undo);
  }

  /** For what is done without netlink. */
  onUndo(what: string, undo: () => Promise<unknown>): void {
    this.#undo.push({ what, undo });
  }

  /** Runs after all steps, before the plan counts as applied. */
  atEnd(finish: () => Promise<void>): void {
    this.#ends.push(finish);
  }

  async finish(): Promise<void> {
    await this.flush();
    for (const finish of this.#ends.splice(0)) await finish();
    await this.flush();
  }

  /** Takes everything back, in reverse; returns what could not be taken back, readable. */
  async undo(): Promise<string[]> {
    this.#queue = [];
    const failures: string[] = [];
    for (const { what, undo } of this.#undo.splice(0).reverse()) {
      try {
        await undo();
      } catch (error) {
        failures.push(`could not ${what}: ${error instanceof Error ? error.message : String(error)}`);
      }
    }
    return failures;
  }

  learn(where: Where, name: string, link: KnownLink): void {
    this.#links.set(`${where}/${name}`, { ...this.#links.get(`${where}/${name}`), ...link });
  }

  facts(): Record<string, KnownLink> {
    return Object.fromEntries(this.#links);
  }

  /** What is known of a link without asking. */
  known(where: Where, name: string): KnownLink | undefined {
    return this.#links.get(`${where}/${name}`);
  }

  /** The link; asks the kernel only where nothing that was sent or is queued tells. Throws CniError. */
  async link(where: Where, name: string): Promise<KnownLink> {
    // The making of either end of a pair is an operation on the host.
    if (!this.known(where, name)) await this.#sendUntil('host');
    const known = this.known(where, name);
    if (known) return known;
    const reply = await this.ask(where, getLink(name), {
      explain: (error) => (error.errno === 'ENODEV' ? new Vanished(explainError(error)) : undefined),
    });
    if (!reply.ok) throw new Error(`no link ${name} ${place(where)}`);
    this.learn(where, name, reply.value);
    return reply.value;
  }
}
