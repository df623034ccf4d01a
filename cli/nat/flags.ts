/** Which of a host's translations are wanted. */
import type { NatEntry } from '../../inspect/nat/view.ts';

export interface FilterFlags {
  who?: string;
  network?: string;
}

export const filterFlags = {
  who: {
    kind: 'parsed',
    parse: String,
    brief: "Only WHO's: weft, docker, ...",
    placeholder: 'WHO',
    optional: true,
  },
  network: {
    kind: 'parsed',
    parse: String,
    brief: 'Only of the network NAME',
    placeholder: 'NAME',
    optional: true,
  },
} as const;

export function wanted({ who, network }: FilterFlags): (entry: NatEntry) => boolean {
  return ({ owner, container }) =>
    (who === undefined || owner.who === who) &&
    (network === undefined || owner.network === network || (container?.networks.includes(network) ?? false));
}
