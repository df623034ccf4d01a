/** What must change for one state to become another. Pure. */
import { type Bridge, type Device, type Entry, type HostState, isOn, keyOf, sameEntry } from './state.ts';

export type Change =
  | { kind: 'make-bridge'; bridge: Bridge }
  | { kind: 'make-device'; device: Device }
  /** With all that is on it. */
  | { kind: 'remove-device'; device: Device }
  /** What the kernel changes in place. */
  | { kind: 'set-device'; device: Device; before: Device }
  | { kind: 'add'; entry: Entry }
  | { kind: 'replace'; entry: Entry; before: Entry }
  | { kind: 'remove'; entry: Entry };

/** Everything that is used is there before what uses it, and longer. */
const ORDER: Readonly<Record<Entry['kind'], number>> = { address: 0, fdb: 1, neighbour: 2, route: 3 };

/** The kernel makes no other device of these (drivers/net/vxlan: `cannot change ...`; a new source address it takes, but not everywhere). */
const FIXED = ['name', 'vni', 'port', 'local', 'learning'] as const;
const CHANGEABLE = ['alias', 'mac', 'mtu', 'up', 'checksumOffload', 'bridge', 'quiet'] as const;

const differs = <T>(a: T, b: T, keys: readonly (keyof T)[]) =>
  keys.some((key) => (a[key] || undefined) !== (b[key] || undefined));

function deviceChanges(wanted: Device | undefined, found: Device | undefined): Change[] {
  if (wanted === undefined) return found === undefined ? [] : [{ kind: 'remove-device', device: found }];
  if (found === undefined) return [{ kind: 'make-device', device: wanted }];
  if (differs(wanted, found, FIXED)) {
    return [
      { kind: 'remove-device', device: found },
      { kind: 'make-device', device: wanted },
    ];
  }
  return differs(wanted, found, CHANGEABLE) ? [{ kind: 'set-device', device: wanted, before: found }] : [];
}

/** In the order in which they are to be made: what is too much goes first, what is missing comes last. */
export function difference(wanted: HostState, found: HostState): Change[] {
  const links: Change[] =
    wanted.bridge !== undefined && found.bridge === undefined
      ? [{ kind: 'make-bridge', bridge: wanted.bridge }]
      : [];
  links.push(...deviceChanges(wanted.device, found.device));
  const gone = links.flatMap((change) => (change.kind === 'remove-device' ? [change.device.name] : []));
  const isGone = (entry: Entry) => gone.some((link) => isOn(entry, link));
  const additions: (Change & { entry: Entry })[] = [];
  for (const [key, entry] of wanted.entries) {
    const before = found.entries.get(key);
    if (before === undefined || isGone(before)) additions.push({ kind: 'add', entry });
    else if (!sameEntry(entry, before)) additions.push({ kind: 'replace', entry, before });
  }
  const removals: (Change & { entry: Entry })[] = [];
  for (const [key, entry] of found.entries) {
    if (!wanted.entries.has(key) && !isGone(entry)) removals.push({ kind: 'remove', entry });
  }
  const byKind = (sign: number) => (a: { entry: Entry }, b: { entry: Entry }) =>
    sign * (ORDER[a.entry.kind] - ORDER[b.entry.kind]);
  return [...removals.sort(byKind(-1)), ...links, ...additions.sort(byKind(1))];
}

/** What a state is after changes, as the kernel makes them. */
export function changed(state: HostState, changes: readonly Change[]): HostState {
  let { bridge, device } = state;
  const entries = new Map(state.entries);
  for (const change of changes) {
    switch (change.kind) {
      case 'make-bridge':
        bridge = change.bridge;
        break;
      case 'make-device':
      case 'set-device':
        device = change.device;
        break;
      case 'remove-device':
        device = undefined;
        for (const [key, entry] of entries) if (isOn(entry, change.device.name)) entries.delete(key);
        break;
      case 'remove':
        entries.delete(keyOf(change.entry));
        break;
      default:
        entries.set(keyOf(change.entry), change.entry);
    }
  }
  return { ...(bridge && { bridge }), ...(device && { device }), entries };
}
