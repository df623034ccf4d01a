/** Programs and filters on links: they drop, rewrite and redirect packets, and cannot be asked what they will do. */
import type { Namespace } from '../../netlink/door.ts';
import { type Classifier, type FilterHook, listClassifiers } from '../../netlink/filter.ts';
import type { Link } from '../../netlink/link.ts';
import { listQdiscs } from '../../netlink/qdisc.ts';

export interface LinkProgram {
  /** Index. */
  link: number;
  /** `xdp` and `ingress` look at what comes in, in this order; `egress` at what goes out. */
  at: 'xdp' | FilterHook;
  /** `XDP program 12`, `tc filter bpf (program 7, "from-container")` */
  words: string;
}

/** Queueing disciplines that filters are tied to. */
const PLACES = ['clsact', 'ingress'];
/** What limits the rate of a container takes a turn through a link of these names, and changes nothing else. */
const SHAPING = /^(?:ifb|bwp)/;

/** Reads one dump, and filters only of links that have any. Throws nothing: a kernel without tc has none. */
export async function readPrograms(
  ns: Pick<Namespace, 'send'>,
  links: readonly Link[],
): Promise<LinkProgram[]> {
  const names = new Map(links.map(({ index, name }) => [index, name]));
  const found = links.flatMap(({ index, xdp }): LinkProgram[] =>
    xdp === undefined
      ? []
      : [{ link: index, at: 'xdp', words: xdp === 0 ? 'several XDP programs' : `XDP program ${xdp}` }],
  );
  try {
    const [qdiscs] = await ns.send(listQdiscs());
    const places = qdiscs.ok ? qdiscs.value.filter(({ kind }) => PLACES.includes(kind)) : [];
    for (const link of new Set(places.map((place) => place.link))) {
      for (const hook of ['ingress', 'egress'] as const) {
        const [filters] = await ns.send(listClassifiers(link, hook));
        const others = filters.ok ? filters.value.filter((one) => !isShaping(one, names)) : [];
        for (const words of new Set(others.map(filterWords))) found.push({ link, at: hook, words });
      }
    }
  } catch {
    // Links without such places are the rule.
  }
  return found;
}

/** Those that send into a bucket, and those that keep packets out of it. */
function isShaping({ kind, redirect }: Classifier, names: ReadonlyMap<number, string>): boolean {
  return kind === 'u32' && (redirect === undefined || SHAPING.test(names.get(redirect) ?? ''));
}

function filterWords({ kind, program }: Classifier): string {
  return `tc filter ${kind}${program === undefined ? '' : ` (program ${program.id}, "${program.name}")`}`;
}
