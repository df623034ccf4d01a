/** What is left on a simulated host after DEL: nothing, but what is shared (the bridge, the constant rules). */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Lab, Place } from './lab.ts';
import type { Progress } from './progress.ts';

interface IpLink {
  ifname: string;
  linkinfo?: { info_kind?: string };
}

/** Names of the links of a place; bridges apart, because they stay for the next container. */
export async function linksOf(lab: Lab, place: Place): Promise<{ bridges: string[]; others: string[] }> {
  const links = JSON.parse(await lab.must(place, 'ip', '-details', '-json', 'link')) as IpLink[];
  const isBridge = ({ linkinfo }: IpLink): boolean => linkinfo?.info_kind === 'bridge';
  const name = ({ ifname }: IpLink): string => ifname;
  return {
    bridges: links.filter(isBridge).map(name),
    others: links.filter((link) => !isBridge(link)).map(name),
  };
}

/** Compares with the links there were before; `addresses` are those that the containers had. */
export async function expectNothingLeft(
  lab: Lab,
  progress: Progress,
  before: readonly string[],
  addresses: readonly string[],
): Promise<void> {
  const { bridges, others } = await linksOf(lab, 'host');
  const links = others.filter((name) => !before.includes(name));
  const stays = bridges.length === 0 ? '' : `${bridges.join(', ')} stays for the next container`;
  tell(progress, 'no link of a container on the host', links, stays);
  for (const place of ['red', 'blue'] as const) {
    const inside = (await linksOf(lab, place)).others.filter((name) => name !== 'lo');
    tell(progress, `no link in ${place} but lo`, inside);
  }
  tell(progress, 'no lease', leases(lab));
  const state = await natState(lab, 'host');
  const owned = state.filter((line) => addresses.some((address) => mentions(line, address)));
  tell(progress, 'no container in the NAT state', owned, 'the rules are constant');
  tell(progress, 'no cached result', names(join(lab.folders('host').cache, 'results')));
}

/** The NAT state of the host as its programs print it: nftables, or iptables with its sets. */
export async function natState(lab: Lab, host: Place): Promise<string[]> {
  const table = await output(lab, host, 'nft', ['list', 'table', 'inet', 'weft']);
  if (table.length > 0) return table;
  return [
    ...(await output(lab, host, 'iptables', ['-t', 'nat', '-S'])),
    ...(await output(lab, host, 'ip6tables', ['-t', 'nat', '-S'])),
    ...(await output(lab, host, 'ipset', ['save'])),
  ];
}

async function output(lab: Lab, host: Place, file: string, args: readonly string[]): Promise<string[]> {
  // A program that is not installed has no state: nsenter says so with its status.
  const { status, stdout } = await lab.run(host, file, args);
  const lines = stdout.split('\n').filter((line) => line !== '');
  return status === 0 && lines.length > 0 ? [`# ${[file, ...args].join(' ')}`, ...lines] : [];
}

function tell(progress: Progress, what: string, left: readonly string[], detail = ''): void {
  progress.check(left.length === 0, what, left.length === 0 ? detail : `left: ${left.join('; ')}`);
}

/** host-local's files: one for each address. */
function leases(lab: Lab): string[] {
  return names(lab.folders('host').leases).flatMap((network) =>
    names(join(lab.folders('host').leases, network)).filter(
      (name) => /^[0-9a-f.:_]+$/i.test(name) && /[.:_]/.test(name),
    ),
  );
}

export function names(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/** 10.1.0.2 is not in 10.1.0.20. */
export function mentions(line: string, address: string): boolean {
  const at = line.indexOf(address);
  return at >= 0 && !/[\w.:]/.test(line[at - 1] ?? '') && !/[\w.:]/.test(line[at + address.length] ?? '');
}
