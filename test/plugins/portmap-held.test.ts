/** Ports that a program of the host holds: refused with its name, but for what a runtime holds for the container. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import t, { type Test } from 'tap';
import { holderWords, lineageOf } from '../../firewall/port-holders.ts';
import { openDoor } from '../../netlink/namespace.ts';
import { refuseHeld } from '../../plugins/portmap/held.ts';
import { realAmbient } from '../../runtime/ambient.ts';
import { startAgent } from '../support/agent.ts';
import { execIn, firewallLines, type Host, makeHost, makeOutside, UPLINK } from '../support/host.ts';
import { pluginsUnderTest, weftIsMissing } from '../support/plugins.ts';
import { until } from '../support/until.ts';
import { BRIDGE, makeWorld } from './world.ts';

/** Holds what its arguments say, `tcp 0.0.0.0 8080`; `client` is a connection to the last one from that port. Others are words for it. */
const HOLD = `
const { createServer, connect } = require('node:net');
const words = process.argv.slice(1);
const take = (i) => {
  const [kind, address, port] = words[i].split(' ');
  const next = () => i + 1 < words.length && words[i + 1].includes(' ') ? take(i + 1) : console.log('ready');
  if (kind === 'tcp') createServer((socket) => socket.on('error', () => {})).listen(Number(port), address, next);
  else if (kind === 'client') connect({ host: address, port: words[i - 1].split(' ')[2], localPort: Number(port) }, next);
  else require('node:dgram').createSocket(address.includes(':') ? 'udp6' : 'udp4').bind(Number(port), address, next);
};
take(0);`;

/** Its process id. */
async function hold(t: Test, host: Host, ...words: string[]): Promise<number> {
  const child = spawn(
    'nsenter',
    [`--net=${host.netns}`, '--', process.execPath, '-e', HOLD, '--', ...words],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  t.teardown(() => child.kill('SIGKILL'));
  for await (const _ of createInterface({ input: child.stdout })) return child.pid ?? 0;
  throw new Error('the holder ended');
}

const config = (...portMappings: object[]) => ({
  ...{ cniVersion: '1.1.0', name: BRIDGE.name, type: 'portmap', capabilities: { portMappings: true } },
  runtimeConfig: { portMappings },
});

t.test('ports that somebody holds', async (t) => {
  const world = await makeWorld(t);
  await makeOutside(t, world.host);
  const container = await world.container();
  const prevResult = await world.add(BRIDGE, container);
  const holder = await hold(
    ...[t, world.host],
    ...['tcp 0.0.0.0 8080', 'client 127.0.0.1 8085', 'tcp :: 8081', 'tcp 127.0.0.53 53', 'tcp ::1 8082'],
    ...['udp 0.0.0.0 5353', 'udp 0.0.0.0 40000', `udp ${UPLINK.v4} 5354`],
  );
  const add = async (mapping: object) =>
    await world.call('ADD', config({ containerPort: 80, ...mapping }), { container, prevResult });
  const remove = async () => void (await world.ok('DEL', config(), { container }));

  const refused = (await add({ hostPort: 8080 })).json;
  t.match(refused, {
    code: 104,
    msg: new RegExp(`^port tcp 8080 of this host is held by node \\(process ${holder}\\)`),
    details: /: \S*node -e /,
  });
  t.same(await firewallLines(world.host.netns, container.id), [], 'nothing of it is published');
  for (const [mapping, why] of [
    [{ hostPort: 8080, hostIP: UPLINK.v4 }, 'on one of the addresses that the holder listens on'],
    [{ hostPort: 8081 }, 'by a socket of IPv6 that takes IPv4'],
    [{ hostPort: 8081, hostIP: '::' }, 'of IPv6'],
    [{ hostPort: 53 }, 'on an address that no link has'],
    [{ hostPort: 8082 }, 'on localhost of IPv6'],
    [{ hostPort: 5353, protocol: 'udp' }, 'of UDP'],
    [{ hostPort: 5354, protocol: 'udp', hostIP: UPLINK.v4 }, 'of UDP on one address'],
  ] as const) {
    const { json } = await add(mapping);
    t.match(json, { code: 104, msg: new RegExp(`held by node \\(process ${holder}\\)`) }, why);
  }
  for (const [mapping, why] of [
    [{ hostPort: 53, hostIP: UPLINK.v4 }, 'another address'],
    [{ hostPort: 8082, hostIP: '0.0.0.0' }, 'the other family'],
    [{ hostPort: 5353 }, 'the other protocol'],
    [{ hostPort: 8085 }, 'a connection to elsewhere'],
    [{ hostPort: 40_000, protocol: 'udp' }, 'what may be a client of UDP'],
    [{ hostPort: 8090, hostIP: '203.0.113.77' }, 'an address that the host has not yet'],
  ] as const) {
    t.equal((await add(mapping)).status, 0, why);
    await remove();
  }

  await hold(t, world.host, 'tcp 0.0.0.0 8088', container.id);
  t.equal((await add({ hostPort: 8088 })).status, 0, 'what is held for the container itself');
  await remove();

  const host = await openDoor().open(world.host.netns);
  t.teardown(() => host.close());
  const { id: containerId, netns } = container;
  const asked = (hostPort: number, pid: number, sleep = async () => {}) =>
    refuseHeld(
      {
        ...{ command: 'ADD', config: config({ hostPort, containerPort: 80 }), cniVersion: '1.1.0' },
        ...{ attachment: { network: BRIDGE.name, containerId, ifname: 'eth0', netns }, args: {}, path: [] },
        ...{ prevResult, ambient: { ...realAmbient({}), pid } },
      } as never,
      { host, sleep },
    );
  await t.rejects(asked(8080, process.pid), { code: 104 });
  await t.resolves(asked(8080, holder), 'what the runtime holds itself, by the process that it started');

  const ending = await hold(t, world.host, 'tcp 0.0.0.0 8089');
  let waits = 0;
  const ends = async () => {
    if (waits === 0) process.kill(ending, 'SIGKILL');
    waits += 1;
    await until('it has ended', () => !existsSync(`/proc/${ending}`));
  };
  await t.resolves(asked(8089, process.pid, ends), 'what a program holds that is ending');
  t.ok(waits > 0, `${waits} pauses`);
});

/** Becomes a runtime that holds a port itself while it calls a plugin, which is its argument; prints what that answers. */
const RUNTIME = `
import socket, subprocess, sys
held = socket.socket()
held.bind(('0.0.0.0', int(sys.argv[2])))
held.listen()
print(subprocess.run([sys.argv[1]], input=sys.argv[3].encode(), capture_output=True).stdout.decode())`;

t.test('as an executable, with an agent and without', { skip: await weftIsMissing() }, async (t) => {
  const host = await makeHost(t);
  const { id, netns } = await host.container();
  const result = {
    interfaces: [{ name: 'eth0', sandbox: netns }],
    ips: [{ address: '10.1.0.2/24', interface: 0 }],
  };
  const plugin = join(pluginsUnderTest(), 'portmap');
  const asked = async (hostPort: number, ...runtime: string[]) => {
    const prevResult = { cniVersion: '1.1.0', ...result, routes: [], dns: {} };
    const input = JSON.stringify({ ...config({ hostPort, containerPort: 80 }), prevResult });
    const env = {
      ...{ CNI_COMMAND: 'ADD', CNI_CONTAINERID: id, CNI_NETNS: netns, CNI_IFNAME: 'eth0' },
      CNI_PATH: pluginsUnderTest(),
    };
    const [file = plugin, ...args] = runtime;
    const rest = runtime.length > 0 ? [...args, plugin, String(hostPort), input] : [];
    return JSON.parse((await host.exec(file, rest, { env, input, mayFail: true })).stdout);
  };
  await host.daemon('server', 'python3', ['-m', 'http.server', '--bind', '0.0.0.0', '8080']);
  await until('it listens', async () => /:8080\b/.test((await execIn(host.netns, 'ss', ['-Hltn'])).stdout));
  for (const way of ['without', 'with']) {
    if (way === 'with') await startAgent(host, { bin: pluginsUnderTest() });
    t.match(await asked(8080), { code: 104, msg: /held by python3 \(process \d+\)/ }, `${way} an agent`);
    t.match(
      await asked(8081, 'python3', '-c', RUNTIME),
      { ips: [{ address: '10.1.0.2/24' }] },
      `${way}: its runtime has it`,
    );
  }
});

t.test('who holds', async (t) => {
  t.same(lineageOf(process.pid).slice(0, 2), [process.pid, process.ppid]);
  t.notOk(lineageOf(process.pid).includes(1), 'the first process starts everything');
  const words = (pid: number) => ({ pid, name: 'sshd', command: [] });
  t.equal(holderWords({ processes: [words(7), words(8)], kernel: false }), 'sshd (process 7)');
  t.match(holderWords({ processes: [], kernel: true }), /^the kernel/);
});
