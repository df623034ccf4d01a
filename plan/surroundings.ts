import type { FirewallBackend } from '../firewall/firewall.ts';
import type { ForwardRules } from '../firewall/forward.ts';
import type { MacFilter } from '../firewall/mac-filter.ts';
import type { PortBackend } from '../firewall/ports.ts';
import type { Namespace } from '../netlink/door.ts';
import type { MasqueradeBackend, Where } from './step.ts';

/** Where a plan is applied, verified or removed. */
export interface Surroundings {
  readonly host: Namespace;
  /** Undefined when it is gone (DEL). */
  readonly container: Namespace | undefined;
  /** The backend that was asked for, else what fits this host. Opened when a step first needs it. */
  firewall(backend?: MasqueradeBackend): Promise<FirewallBackend>;
  /** Loaded when a step first needs it. */
  macFilter(): Promise<MacFilter>;
  /** The backend that was asked for, else what fits this host. Loaded when a step first needs it. */
  ports(backend?: PortBackend['name']): Promise<PortBackend>;
  /** Loaded when a step first needs it. */
  forward(): Promise<ForwardRules>;
  /** For what nobody has to wait for: run after the answer, and not at all when the verb fails. Absent: do it before. */
  afterwards?(work: () => Promise<unknown>): void;
  /** Milliseconds. */
  sleep(duration: number): Promise<void>;
}

/** Throws an Error when a plan wants a container that is not there: a mistake of the caller, not of the user. */
export function namespaceOf(surroundings: Surroundings, where: Where): Namespace {
  const namespace = where === 'host' ? surroundings.host : surroundings.container;
  if (!namespace) throw new Error("the plan has steps in the container's namespace, which is not open");
  return namespace;
}

/** How messages say where: `on the host`, `in the container`. */
export function place(where: Where): string {
  return where === 'host' ? 'on the host' : 'in the container';
}
