/** Published ports: predicted from everywhere, and asked; what the server sees is what was predicted. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import t, { type Test } from 'tap';
import { BRIDGE, makeWorld } from '../plugins/world.ts';
import { execIn, makeOutside, UPLINK } from '../support/host.ts';
import { foresee, outcome, settled } from './trace-lab.ts';

/** Answers on TCP and UDP port 80, both families, with the address that it was asked from. */
const SERVER = `
const words = (from) => from.replace('::ffff:', '') + '\\n';
const udp = require('node:dgram').createSocket('udp6');
udp.on('message', (_, { address, port }) => udp.send(words(address), port, address));
udp.bind(80, '::', () => require('node:net').createServer((socket) => socket.on('error', () => {}).end(words(socket.remoteAddress)))
  .listen(80, '::', () => console.log('ready')));`;

async function serve(t: Test, netns: string): Promise<void> {
  const child = spawn('nsenter', [`--net=${netns}`, '--', process.execPath, '-e', SERVER], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = once(child, 'exit');
  t.teardown(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  for await (const _ of createInterface({ input: child.stdout })) return;
  throw new Error('the server ended');
}

const ASK = {
  tcp: 'exec 3<>"/dev/tcp/$0/$1" && cat <&3',
  udp: 'exec 3<>"/dev/udp/$0/$1" && echo >&3 && head -n 1 <&3',
} as const;

/** The address that the server sees; empty where nobody answers. */
async function ask(
  netns: string,
  protocol: 'tcp' | 'udp',
  address: string,
  seconds: string,
): Promise<string> {
  const args = [seconds, 'bash', '--norc', '-c', ASK[protocol], address, '8080'];
  return (await execIn(netns, 'timeout', args, { mayFail: true })).stdout.trim();
}

for (const backend of ['nftables', 'iptables'] as const) {
  t.test(`ports by ${backend}`, async (t) => {
    const world = await makeWorld(t);
    const outside = await makeOutside(t, world.host);
    const bridge = { ...BRIDGE, ipMasq: true, ipMasqBackend: backend };
    const [a, b] = [await world.container(), await world.container()];
    const prevResult = await world.add(bridge, a);
    await world.add(bridge, b);
    await settled(world.host.netns);
    await serve(t, a.netns);
    const conf = {
      ...{
        cniVersion: '1.1.0',
        name: BRIDGE.name,
        type: 'portmap',
        capabilities: { portMappings: true },
        backend,
      },
      runtimeConfig: {
        portMappings: ['tcp', 'udp'].map((protocol) => ({ hostPort: 8080, containerPort: 80, protocol })),
      },
    };
    await world.ok('ADD', conf, { container: a, prevResult });
    const cases = [
      ['outside', outside, UPLINK.v4, 'tcp'],
      ['outside', outside, UPLINK.v4, 'udp'],
      ['outside', outside, UPLINK.v6, 'tcp'],
      ['host', world.host.netns, UPLINK.v4, 'tcp'],
      ['host', world.host.netns, '127.0.0.1', 'tcp'],
      [b.netns, b.netns, UPLINK.v4, 'tcp'],
      [b.netns, b.netns, '10.1.0.1', 'udp'],
      [a.netns, a.netns, UPLINK.v4, 'tcp'],
      [a.netns, a.netns, UPLINK.v6, 'udp'],
    ] as const;
    // The second backend is asked where it differs.
    const asked = backend === 'nftables' ? cases : cases.filter((_, i) => i % 3 === 1);
    for (const [from, netns, address, protocol] of asked) {
      const to = `${address.includes(':') ? `[${address}]` : address}:8080/${protocol}`;
      const foreseen = await foresee(world.host, from, to);
      const { there, back } = foreseen;
      const what = `${from.replace(/.*-/, '')} to ${to}`;
      if (
        !t.equal(
          outcome(foreseen),
          'delivered',
          `${what}: ${there.why} ${back?.why ?? ''} ${there.assumptions.join()}`,
        )
      )
        t.comment([...there.hops, ...(back?.hops ?? [])].map(({ words }) => words).join('\n'));
      const last = there.hops.at(-1);
      const seen = await ask(netns, protocol, address, '10');
      t.equal(last?.tuple.source, seen, `${what}: the server sees the predicted source`);
      t.equal(last?.tuple.destinationPort, 80);
      const rewrite = there.hops.find((hop) => hop.kind === 'rule' && hop.verdict.startsWith('dnat'));
      t.match(rewrite, { owner: { who: 'weft', containerId: a.id } }, `${what}: whose the port is`);
    }
    const other = await foresee(world.host, 'outside', `${UPLINK.v4}:8081`);
    t.match(other.there, { outcome: 'rejected', why: /nobody listens on tcp 198\.51\.100\.1:8081/ });
    await world.ok('DEL', conf, { container: a, prevResult });
    const gone = await foresee(world.host, 'outside', `${UPLINK.v4}:8080`);
    t.match(gone.there, { outcome: 'rejected' });
    t.equal(await ask(outside, 'tcp', UPLINK.v4, '5'), '');
  });
}
