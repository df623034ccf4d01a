/** What the plugins are told: the membership file, written when it changes. */
import type { ClusterNetwork } from '../../cluster/network.ts';
import type { NetworkState } from '../../cluster/registry.ts';
import { writeMembership } from '../../ipam/cluster/membership.ts';
import { elsewhere } from './members.ts';
import { prefixesOf } from './parts.ts';
import type { ProblemKind, Problems } from './problems.ts';

/** Bytes; before the underlay was looked at. */
const UNKNOWN_MTU = 1280;

export interface MembershipInput {
  network: ClusterNetwork;
  host: string;
  state: NetworkState;
  /** Of what the member holds, what plugins may hand out: blocks, and single addresses. */
  offered: readonly string[];
  borrowed: readonly string[];
  mtu: number | undefined;
  device: string | undefined;
  problems: Problems;
  /** Milliseconds since the epoch; undefined: for ever. */
  validUntil: number | undefined;
}

/** With one of these, an address that is given out may be another's, or of a network that nobody has configured. */
const REFUSING: readonly ProblemKind[] = ['name', 'conflict', 'configuration', 'overlap'];

export class MembershipView {
  readonly #cacheDir: string;
  #written = '';

  constructor(cacheDir: string) {
    this.#cacheDir = cacheDir;
  }

  /** Throws an Error with `code`. */
  tell({
    network,
    host,
    state,
    offered,
    borrowed,
    mtu,
    device,
    problems,
    validUntil,
  }: MembershipInput): void {
    const { name, backend, pools } = network;
    const words = problems.all();
    const away = backend === 'vxlan-l2' ? elsewhere(state, host, offered) : [];
    const membership = {
      ...{ network: name, host, pools: prefixesOf(pools), mtu: mtu ?? UNKNOWN_MTU },
      ...{ subnets: [...offered], borrowed: [...borrowed] },
      ...(away.length > 0 && { away }),
      ...(device !== undefined && { device }),
      ...(validUntil !== undefined && { validUntil }),
      ...(words.length > 0 && { problem: words.join('; ') }),
      ...(problems.has('kernel') && { limited: true }),
      ...(REFUSING.some((kind) => problems.has(kind)) && { refuses: true }),
    };
    const text = JSON.stringify(membership);
    if (text === this.#written) return;
    writeMembership(this.#cacheDir, membership);
    this.#written = text;
  }

  /** The file was removed. */
  forget(): void {
    this.#written = '';
  }
}
