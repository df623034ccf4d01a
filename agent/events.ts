/** What happens in an agent that is worth counting, kept until somebody counts: prom-client is not loaded before the first request. */
import type { Served } from './agent.ts';

/** Why a caller was not served. */
export type Refusal =
  /** It is not root, or stands in another namespace or root folder. */
  | 'stranger'
  /** It did not want us after our greeting: it is of another build or stands elsewhere, or gave up. */
  | 'declined'
  /** Its request means something else here than where it stands, or names no plugin: left to the cold path. */
  | 'request'
  /** It does not keep to the protocol. */
  | 'protocol'
  /** It did not send its request, or fetch its answer, in time. */
  | 'slow'
  /** Too much was asked at once. */
  | 'overload';

export type AgentEvent =
  | { event: 'served'; request: Served }
  | { event: 'refused'; why: Refusal }
  /** Something that others had removed or changed was put right; `kind` is one word of a small set: rules, link, lease, network. */
  | { event: 'corrected'; kind: string; count: number }
  /** A DHCP lease was asked for once more; `outcome` is one word of a small set (agent/dhcp/renewer.ts). */
  | { event: 'lease'; outcome: string };

/** Hands events on, in order; those that come before anybody listens wait. */
export class AgentEvents {
  #waiting: AgentEvent[] = [];
  #listener: ((event: AgentEvent) => void) | undefined;

  emit(event: AgentEvent): void {
    if (this.#listener) this.#listener(event);
    else this.#waiting.push(event);
  }

  /** For one listener only, which must not throw. */
  listen(listener: (event: AgentEvent) => void): void {
    this.#listener = listener;
    for (const event of this.#waiting.splice(0)) listener(event);
  }
}
