/** Who is compared, and what each of them runs for an ADD and a DEL. */
import path from 'node:path';
import { type Ground, type Host, type Job, PATH } from './ground.ts';

/** What a contestant's network does with packets that leave the host: nothing, or masquerade by one of two backends. */
export type Network = 'plain' | 'iptables' | 'nftables';

/**
 * `cold`: our executables without an agent. `agent`: with one. `reference`: Debian's containernetworking-plugins. `floor`: a C program
 * that sends the same kernel messages (bench/floor.c). `process`: one that does nothing at all.
 */
export type Way = 'cold' | 'agent' | 'reference' | 'floor' | 'process';

export interface Folders {
  weft: string;
  reference: string;
}

export type Verb = 'ADD' | 'DEL';

/** An attachment: its number on the host says its names, and the floor's address. */
export interface Attachment {
  number: number;
  netns: string;
  ifname: string;
}

export interface Contestant {
  readonly way: Way;
  readonly network: Network;
  readonly host: Host;
  job(verb: Verb, attachment: Attachment): Job;
  /** Only with an agent: its process id. */
  agent?: number;
}

/** Those that are compared; Debian's reference knows the iptables backend alone, it stands beside ours of either kind. */
const ENTRIES: readonly (readonly [Way, Network])[] = [
  ['cold', 'plain'],
  ['agent', 'plain'],
  ['reference', 'plain'],
  ['floor', 'plain'],
  ['process', 'plain'],
  ['cold', 'iptables'],
  ['agent', 'iptables'],
  ['reference', 'iptables'],
  ['cold', 'nftables'],
  ['agent', 'nftables'],
];

/** Pairs of ADD and DEL that an agent has served before anything is measured: it stays, and so does what V8 has compiled. */
const WARM = 100;

/** Gives each contestant a host of its own, with a bridge and all rules that the first container makes. */
export async function openContestants(
  ground: Ground,
  folders: Folders,
  wanted: (way: Way, network: Network) => boolean = () => true,
): Promise<Contestant[]> {
  const contestants: Contestant[] = [];
  const [netns = ''] = await ground.namespaces('warm', 1);
  for (const [way, network] of ENTRIES) {
    if (!wanted(way, network)) continue;
    const host = await ground.host(`${way}-${network}`);
    const job = await jobsOf(ground, folders, way, network, host);
    const one: Contestant = { way, network, host, job };
    if (way === 'agent') one.agent = await startAgent(host, folders.weft);
    const attachment = { number: 0, netns, ifname: 'eth0' };
    for (let pair = 0; pair < (way === 'agent' ? WARM : 1); pair++) {
      await host.run([job('ADD', attachment), job('DEL', attachment)]);
    }
    contestants.push(one);
  }
  return contestants;
}

/** Starts the agent of a host, with its log in a file, and returns its process id when it listens. */
export async function startAgent(host: Host, binDir: string): Promise<number> {
  const variables = Object.entries(environment(host)).map(([key, value]) => `${key}='${value}'`);
  const line =
    `env -i ${variables.join(' ')} '${binDir}/weft' agent </dev/null >'${host.dir}/agent.log' 2>&1 & echo $!; ` +
    `until [ -S '${host.dir}/run/agent.sock' ]; do kill -0 $!; sleep 0.01; done`;
  return Number(await host.shell(line));
}

/** Ends an agent and waits for its end. */
export async function stopAgent(host: Host, pid: number): Promise<void> {
  await host.shell(`kill ${pid}; while kill -0 ${pid} 2>/dev/null; do sleep 0.01; done`);
}

const environment = ({ dir }: Host) => ({
  PATH,
  WEFT_RUN_DIR: path.join(dir, 'run'),
  WEFT_CACHE_DIR: path.join(dir, 'cache'),
  WEFT_DATA_DIR: path.join(dir, 'data'),
});

async function jobsOf(
  ground: Ground,
  folders: Folders,
  way: Way,
  network: Network,
  host: Host,
): Promise<Contestant['job']> {
  if (way === 'process') return () => ({ file: '/bin/true' });
  if (way === 'floor') {
    await host.shell('ip link add bench0 up type bridge; ip address add 10.64.0.1/16 dev bench0');
    return (verb, { number, netns, ifname }) => {
      const address = `10.64.${(number + 2) >> 8}.${(number + 2) & 255}`;
      const add = ['add', 'bench0', `f${number}`, netns, ifname, address, '16', '10.64.0.1'];
      return { file: ground.floor, args: verb === 'ADD' ? add : ['del', `f${number}`] };
    };
  }
  const binDir = way === 'reference' ? folders.reference : folders.weft;
  const input = configuration(host, network, way !== 'reference');
  return (verb, { number, netns, ifname }) => ({
    file: path.join(binDir, 'bridge'),
    input,
    env: {
      ...environment(host),
      CNI_COMMAND: verb,
      CNI_CONTAINERID: `container-${number}`,
      CNI_IFNAME: ifname,
      CNI_NETNS: netns,
      CNI_PATH: binDir,
    },
  });
}

const configuration = (host: Host, network: Network, backendField: boolean) =>
  JSON.stringify({
    cniVersion: '1.0.0',
    name: 'bench',
    type: 'bridge',
    bridge: 'bench0',
    isGateway: true,
    ipMasq: network !== 'plain',
    ...(backendField && network !== 'plain' ? { ipMasqBackend: network } : {}),
    ipam: {
      type: 'host-local',
      dataDir: path.join(host.dir, 'data'),
      ranges: [[{ subnet: '10.64.0.0/16' }]],
      routes: [{ dst: '0.0.0.0/0' }],
    },
  });
