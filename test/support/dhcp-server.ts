/** Real DHCP servers in a namespace beside a simulated host, on a bridge of that host. They end with it. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execIn, type Host } from './host.ts';

export interface DhcpServer {
  /** What it has written so far; each line as it is. */
  log(): Promise<string[]>;
  /** Its list of leases, as it writes it. */
  leases(): Promise<string>;
  /** Ends it, as a power failure would. */
  stop(): Promise<void>;
}

export interface Segment {
  /** Its end of the wire is eth0, 10.7.0.1/24. */
  netns: string;
  start(kind: 'dnsmasq' | 'udhcpd', options?: readonly string[]): Promise<DhcpServer>;
}

/** A bridge on the host, and a namespace on it in which servers can run. */
export async function makeSegment(host: Host, bridge: string, link = 'server'): Promise<Segment> {
  const { id, netns } = await host.container();
  const batch = async (where: string, lines: readonly string[]) =>
    void (await execIn(where, 'ip', ['-batch', '-'], { input: `${lines.join('\n')}\n` }));
  await batch(host.netns, [
    `link add ${bridge} up type bridge`,
    `link add ${link} up master ${bridge} type veth peer name eth0 netns ${id}`,
  ]);
  await batch(netns, ['addr add 10.7.0.1/24 dev eth0', 'link set eth0 up']);
  let count = 0;
  return {
    netns,
    async start(kind, options = []) {
      count += 1;
      const name = `${kind}-${count}`;
      const file = (ending: string) => join(host.root, `${name}.${ending}`);
      await writeFile(file('leases'), '');
      const program = kind === 'dnsmasq' ? dnsmasq(file) : await udhcpd(file, options);
      const script = 'echo $$ >"$1"; shift; exec nsenter "$@"';
      const args = [`--net=${netns}`, '--', ...program, ...(kind === 'dnsmasq' ? options : [])];
      await host.daemon(name, 'sh', ['-c', script, 'sh', file('pid'), ...args]);
      return {
        log: async () => (await readFile(file('log'), 'utf8').catch(() => '')).split('\n'),
        leases: async () =>
          kind === 'dnsmasq'
            ? await readFile(file('leases'), 'utf8')
            : (await host.exec('busybox', ['dumpleases', '-a', '-f', file('leases')], { mayFail: true }))
                .stdout,
        stop: async () => {
          const pid = (await readFile(file('pid'), 'utf8')).trim();
          await host.exec('kill', ['-KILL', pid]);
        },
      };
    },
  };
}

const dnsmasq = (file: (ending: string) => string) => [
  'dnsmasq',
  ...['--keep-in-foreground', '--log-facility=-', '--log-dhcp', '--conf-file=/dev/null', '--user=root'],
  ...['--port=0', '--interface=eth0', '--bind-interfaces', '--no-ping'],
  ...[`--dhcp-leasefile=${file('leases')}`, `--pid-file=${file('dnsmasq-pid')}`],
];

async function udhcpd(file: (ending: string) => string, options: readonly string[]): Promise<string[]> {
  const lines = [
    ...['start 10.7.0.50', 'end 10.7.0.99', 'interface eth0', `lease_file ${file('leases')}`],
    ...[`pidfile ${file('udhcpd-pid')}`, 'auto_time 1', 'option subnet 255.255.255.0', ...options],
  ];
  await writeFile(file('conf'), `${lines.join('\n')}\n`);
  return ['udhcpd', '-f', file('conf')];
}
