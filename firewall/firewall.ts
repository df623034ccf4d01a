/** What the plan engine needs of a NAT backend: constant rules, changing membership, readable ownership. */
import type { AttachmentId } from '../cni/types.ts';

export interface Membership extends AttachmentId {
  network: string;
  /** Addresses without prefix length, either family. */
  sources: readonly string[];
  /** CIDRs whose traffic keeps its source address. */
  except: readonly string[];
}

export interface FirewallBackend {
  readonly name: 'nftables' | 'iptables';
  /** Idempotent. Installs the network's base rules if they are missing (also when others flushed them), then the elements. */
  addMasquerade(member: Membership): Promise<void>;
  /** Idempotent. `sources` may be empty: then every element that carries this attachment's mark goes. */
  removeMasquerade(member: Omit<Membership, 'except'>): Promise<void>;
  /** One line per missing thing (rule, chain, set, element), empty when all is there. */
  verifyMasquerade(member: Membership): Promise<string[]>;
  /** Removes elements of this network that belong to none of the valid attachments; returns what it removed, readable. */
  collectMasquerade(network: string, valid: readonly AttachmentId[]): Promise<string[]>;
  /** The lines that a person would type for this membership, base rules included. */
  renderMasquerade(member: Membership): string[];
  /** Throws CniError(notAvailable) when this backend cannot work on this host. */
  probe(): Promise<void>;
}
