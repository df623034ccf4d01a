/** The nodes of one network, followed: a list, then what changes from its version on; the list again when the server has forgotten that far back. */

import { Attempts } from '../registry/attempts.ts';
import type { Member, Watch, WatchHooks } from '../registry.ts';
import { ApiError, GONE, type Node, type NodeEvent, type NodesApi } from './api.ts';
import { memberOfNode, stateOf } from './members.ts';

/** Milliseconds: no server that is well ends a watch so soon. */
const SHORT = 1000;

export class NodesWatch implements Watch {
  readonly #api: NodesApi;
  readonly #network: string;
  readonly #hooks: WatchHooks;
  readonly #ended = new AbortController();
  readonly #attempts: Attempts;
  /** Not whole nodes: those are large. */
  #members: Map<string, Member> | undefined;
  #version = '';
  #told: string | undefined;

  constructor(api: NodesApi, network: string, hooks: WatchHooks) {
    this.#api = api;
    this.#network = network;
    this.#hooks = hooks;
    this.#attempts = new Attempts(hooks, this.#ended.signal);
  }

  start(): void {
    void this.#attempts.repeat(
      () => this.#attempt(),
      (error) => {
        if (error instanceof ApiError && error.code === GONE) this.#members = undefined;
        return this.#api.explained(error);
      },
    );
  }

  close(): void {
    this.#ended.abort();
  }

  async #attempt(): Promise<void> {
    if (this.#members === undefined) await this.#list();
    await this.#follow();
  }

  async #list(): Promise<void> {
    const { nodes, version } = await this.#api.list();
    if (this.#ended.signal.aborted) return;
    this.#members = new Map();
    for (const node of nodes) this.#put(node);
    this.#version = version;
    this.#attempts.succeeded();
    this.#tell();
  }

  async #follow(): Promise<void> {
    const began = Date.now();
    await this.#api.follow(this.#version, this.#ended.signal, {
      opened: () => this.#attempts.opened(),
      event: (event) => this.#take(event),
    });
    // The server ends it each minute; one that does at once must not be asked without pause.
    if (Date.now() - began < SHORT) throw new Error('the watch was ended at once');
  }

  #take({ type, object }: NodeEvent): void {
    if (this.#ended.signal.aborted) return;
    if (type === 'ERROR') throw new ApiError(object.code ?? GONE, object.message ?? 'the watch was ended');
    this.#version = object.metadata.resourceVersion ?? this.#version;
    if (type === 'BOOKMARK') return;
    if (type === 'DELETED') this.#members?.delete(object.metadata.name);
    else this.#put(object);
    this.#tell();
  }

  #put(node: Node): void {
    const member = memberOfNode(this.#network, node);
    if (member === undefined) this.#members?.delete(node.metadata.name);
    else this.#members?.set(node.metadata.name, member);
  }

  /** Nodes report their health all the time: of most events nobody here needs to know. */
  #tell(): void {
    const state = stateOf(this.#members?.values() ?? []);
    const text = JSON.stringify(state);
    if (text === this.#told) return;
    this.#told = text;
    this.#hooks.changed(state);
  }
}
