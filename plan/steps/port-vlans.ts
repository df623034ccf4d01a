/** The VLANs of a bridge port: one it belongs to, or several that it carries. */
import { addBridgeVlans, deleteBridgeVlans, listBridgeVlans } from '../../netlink/bridge-vlan.ts';
import type { Link } from '../../netlink/link.ts';
import { tolerating } from '../../netlink/message.ts';
import type { Difference } from '../difference.ts';
import { quote } from '../render.ts';
import type { Run } from '../run.ts';
import type { PortOptions } from '../step.ts';
import type { Surroundings } from '../surroundings.ts';

/** What a bridge puts a new port into (IFLA_BR_VLAN_DEFAULT_PVID). */
const DEFAULT_VLAN = 1;

export async function applyVlans(name: string, port: PortOptions, run: Run): Promise<void> {
  if (!port.vlan && !port.trunks?.length && !port.dropDefaultVlan) return;
  const { index } = await run.link('host', name);
  if (port.dropDefaultVlan)
    run.push('host', tolerating(deleteBridgeVlans(index, [{ vid: DEFAULT_VLAN }]), 'ENOENT'));
  const access = port.vlan ? [{ vid: port.vlan, pvid: true, untagged: true }] : [];
  const trunks = (port.trunks ?? []).map(({ min, max }) => ({ vid: min, end: max }));
  if (access.length + trunks.length > 0) run.push('host', addBridgeVlans(index, [...access, ...trunks]));
}

export async function vlanDifferences(
  { name, index }: Link,
  { vlan, trunks = [] }: PortOptions,
  { host }: Surroundings,
): Promise<Difference[]> {
  if (!vlan && trunks.length === 0) return [];
  const [reply] = await host.send(listBridgeVlans(index));
  const found = new Map(reply.ok ? reply.value.map((one) => [one.vid, one]) : []);
  const what = `link ${name} on the host`;
  const access = vlan ? found.get(vlan) : undefined;
  const differences: Difference[] = [];
  if (vlan && !(access?.pvid && access.untagged)) {
    const other = access ? `VLAN ${vlan} for frames with its tag` : 'not in it';
    differences.push({ what, wanted: `in VLAN ${vlan}, for frames without a tag`, found: other });
  }
  for (const { min, max } of trunks) {
    const missing = Array.from({ length: max - min + 1 }, (_, i) => min + i).filter((vid) => !found.has(vid));
    if (missing.length === 0) continue;
    const wanted = min === max ? `in VLAN ${min}` : `in VLANs ${min} to ${max}`;
    differences.push({ what, wanted, found: `not in VLAN ${missing.slice(0, 3).join(', ')}` });
  }
  return differences;
}

export function renderVlans(name: string, { vlan, trunks = [], dropDefaultVlan }: PortOptions): string[] {
  const line = (verb: 'add' | 'del', ...words: (string | number)[]) =>
    ['bridge vlan', verb, 'dev', quote(name), 'vid', ...words].join(' ');
  return [
    ...(dropDefaultVlan ? [line('del', DEFAULT_VLAN)] : []),
    ...(vlan ? [line('add', vlan, 'pvid', 'untagged')] : []),
    ...trunks.map(({ min, max }) => line('add', min === max ? min : `${min}-${max}`)),
  ];
}
