import type { AttachmentId } from '../../cni/types.ts';
import { type Holder, isHolder, type Leases } from '../../ipam/leases.ts';

/** Leases in memory: the allocator's other side in pure tests. */
export class MemoryLeases implements Leases {
  readonly held = new Map<string, Holder>();
  readonly last = new Map<number, string>();

  of(id: AttachmentId): string[] {
    return this.#where((holder) => isHolder(holder, id));
  }
  ofContainer(containerId: string): string[] {
    return this.#where((holder) => holder.containerId === containerId && holder.ifname === undefined);
  }
  holder(address: string): Holder | undefined {
    return this.held.get(address);
  }
  claim(candidates: Iterable<string>, id: AttachmentId): string | undefined {
    for (const address of candidates) {
      if (this.held.has(address)) continue;
      this.held.set(address, id);
      return address;
    }
    return undefined;
  }
  release(address: string): void {
    this.held.delete(address);
  }
  lastReserved(set: number): string | undefined {
    return this.last.get(set);
  }
  setLastReserved(set: number, address: string): void {
    this.last.set(set, address);
  }
  all(): Map<string, Holder> {
    return new Map(this.held);
  }
  #where(fits: (holder: Holder) => boolean): string[] {
    return [...this.held].filter(([, holder]) => fits(holder)).map(([address]) => address);
  }
}
