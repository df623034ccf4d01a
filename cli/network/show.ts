/** `weft network show` */
import type { MemberSummary, NetworkSummary } from '../../agent/cluster/summary.ts';
import type { Ambient } from '../../cni/ambient.ts';
import { CniError, ErrorCode } from '../../cni/errors.ts';
import { familyOf } from '../../cni/prefix.ts';
import { duration } from '../agent/units.ts';
import type { WeftContext } from '../context.ts';
import { lines, table } from '../table.ts';
import { askNetworks, NO_AGENT_RUNS } from './ask.ts';
import { contact, noAgent } from './list.ts';

export interface ShowFlags {
  json?: boolean;
  /** Whether the other hosts are pinged. */
  probe: boolean;
}

/** Milliseconds of a round trip; `none`: no answer within a second; undefined: not asked. */
type Answer = number | 'none' | undefined;

/** Hosts that are asked at the same time. */
const AT_ONCE = 32;

export async function show(this: WeftContext, flags: ShowFlags, name: string): Promise<void> {
  const { terminal, ambient } = this;
  const { running, networks } = await askNetworks(ambient.paths);
  const network = networks.find((one) => one.name === name);
  if (network === undefined) {
    const known = networks.map((one) => one.name).join(', ') || 'none';
    throw new CniError(
      ErrorCode.invalidConfig,
      `no network between hosts is called ${JSON.stringify(name)} here: there is ${known}. "weft plan FILE" says whether a conflist can be understood`,
    );
  }
  const answers = flags.probe ? await probe(ambient, network.members) : new Map<string, Answer>();
  if (flags.json) {
    const members = network.members.map((member) => ({ ...member, answer: answers.get(member.host) }));
    terminal.out(`${JSON.stringify({ ...network, members }, null, 2)}\n`);
    return;
  }
  terminal.out(lines(...screen(network, answers, ambient.now())));
  if (!running) terminal.err(`${noAgent([network])}\n`);
}

function screen(network: NetworkSummary, answers: ReadonlyMap<string, Answer>, now: number): string[] {
  const { name, backend, vni, host, addresses, subnets, borrowed, pools, device, mtu, registry } = network;
  const facts = [
    ['network', `${name}: ${backend}${vni === undefined ? '' : `, VNI ${vni}`}, ${pools.join(' ')}`],
    ['this host', host === '' ? '-' : `${host}: ${addresses.join(' ') || 'no address'}`],
    [
      'holds',
      `${[...subnets, ...borrowed].join(' ') || 'nothing'} (${network.leases} ${network.leases === 1 ? 'address' : 'addresses'} in use)`,
    ],
    ...(device === undefined ? [] : [['device', `${device}, MTU ${mtu ?? '?'}`]]),
    ['registry', registryWords(registry, now)],
    ['conflist', network.file ?? 'removed: "weft network leave" takes the network away'],
    ['put back', `${network.corrections}`],
  ];
  return [
    ...table(facts),
    '',
    ...table([MEMBERS, ...network.members.map((member) => memberRow(member, answers.get(member.host)))]),
    ...(network.seen === undefined
      ? []
      : [`as the registry said ${duration((now - network.seen) / 1000)} ago`]),
    ...(network.sessions
      ? [
          '',
          ...table([
            ['BGP NEIGHBOUR', 'ADDRESS', 'STATE', 'LEARNED', 'TOLD', 'FOR'],
            ...network.sessions.map(({ peer, address, state, imported, exported, since, error }) => [
              ...[peer, address, error === undefined ? state : `${state}: ${error}`],
              ...[String(imported), String(exported), since === 0 ? '-' : duration((now - since) / 1000)],
            ]),
          ]),
        ]
      : []),
    ...(network.problems.length > 0 ? ['', ...network.problems.map((problem) => `problem: ${problem}`)] : []),
  ];
}

function registryWords(registry: NetworkSummary['registry'], now: number): string {
  const { where, since, error } = registry;
  if (error === NO_AGENT_RUNS) {
    const seen = since === 0 ? '' : ` (last seen ${duration((now - since) / 1000)} ago)`;
    return `${where === '' ? '' : `${where}: `}not asked: ${error}${seen}`;
  }
  return `${where}: ${contact(registry, now)}${error === undefined ? '' : ` (${error})`}`;
}

const MEMBERS = ['HOST', 'ADDRESSES', 'SUBNETS', 'MAC', 'ADDRESSES TOLD', 'ANSWERS'];

function memberRow(
  { host, self, addresses, subnets, borrowed, mac, endpoints }: MemberSummary,
  answer: Answer,
) {
  return [
    self ? `${host} (this)` : host,
    addresses.join(' ') || '-',
    [...subnets, ...borrowed].join(' ') || '-',
    mac ?? '-',
    endpoints === 0 ? '-' : String(endpoints),
    self ? '-' : answer === undefined ? '?' : answer === 'none' ? 'NO' : `${answer} ms`,
  ];
}

/** Pings each of the other hosts once, by its first address. */
async function probe(ambient: Ambient, members: readonly MemberSummary[]): Promise<Map<string, Answer>> {
  const answers = new Map<string, Answer>();
  const waiting = members.filter(({ self }) => !self);
  const work = async () => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const [address] = next.addresses;
      if (address !== undefined) answers.set(next.host, await ping(ambient, address));
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return answers;
}

async function ping(ambient: Ambient, address: string): Promise<Answer> {
  try {
    const family = familyOf(address) === 6 ? ['-6'] : [];
    const { stdout } = await ambient.run('ping', [...family, '-n', '-c', '1', '-W', '1', address], {
      timeout: 5000,
    });
    const [, time] = /time=([\d.]+) ms/.exec(stdout) ?? [];
    return time === undefined ? 'none' : Number(time);
  } catch {
    // There is no such program.
    return undefined;
  }
}
