/** The real firewalld on a simulated host, with a system bus of its own. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Host } from './host.ts';
import { until } from './until.ts';

export interface RunningFirewalld {
  /** What leads programs to this host's bus. */
  readonly env: Readonly<Record<string, string>>;
  /** What firewall-cmd prints. Throws when it fails. */
  cmd(...args: string[]): Promise<string>;
  /** What is bound to a zone, sorted. */
  sources(zone: string): Promise<string[]>;
}

/** Starts both and waits until firewalld answers. They end with the host. */
export async function startFirewalld(
  host: Host,
  backend: 'nftables' | 'iptables',
): Promise<RunningFirewalld> {
  const bus = join(host.root, 'bus');
  const config = join(host.root, 'bus.conf');
  await writeFile(
    config,
    `<busconfig><type>system</type><listen>unix:path=${bus}</listen><auth>EXTERNAL</auth>
    <policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy></busconfig>`,
  );
  const env = { DBUS_SYSTEM_BUS_ADDRESS: `unix:path=${bus}` };
  await host.exec('sed', [
    '-i',
    `s/^FirewallBackend=.*/FirewallBackend=${backend}/`,
    '/etc/firewalld/firewalld.conf',
  ]);
  await host.daemon('dbus', 'dbus-daemon', [`--config-file=${config}`, '--nofork', '--nopidfile']);
  await until(
    'the bus listens',
    async () => (await host.exec('test', ['-S', bus], { mayFail: true })).status === 0,
  );
  await host.daemon('firewalld', '/usr/sbin/firewalld', ['--nofork', '--nopid', '--log-target=console'], env);
  const cmd = async (...args: string[]) => (await host.exec('firewall-cmd', args, { env })).stdout.trim();
  // firewall-cmd is slow to start.
  const name = 'org.fedoraproject.FirewallD1';
  const ask = ['--system', '--auto-start=no', 'call', name, '/org/fedoraproject/FirewallD1', `${name}.zone`];
  const sources = async (zone: string) => {
    const { stdout } = await host.exec('busctl', [...ask, 'getSources', 's', zone], { env });
    return [...stdout.matchAll(/"([^"]+)"/g)].map(([, source]) => source ?? '').sort();
  };
  await until('firewalld answers', async () => (await sources('trusted')).length === 0);
  return { env, cmd, sources };
}
