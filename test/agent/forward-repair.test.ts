/** What lets containers through, keeps them apart and publishes their ports comes back, whoever removed it by whatever means. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { BRIDGE, makeWorld } from '../plugins/world.ts';
import { startAgent } from '../support/agent.ts';
import {
  type Container,
  execIn,
  firewallLines,
  makeOutside,
  OUTSIDE,
  ping,
  UPLINK,
} from '../support/host.ts';
import { pluginsUnderTest, weftIsMissing } from '../support/plugins.ts';
import { until } from '../support/until.ts';

const skip = await weftIsMissing();
const bridge = { ...BRIDGE, ipMasq: true };
const firewall = { cniVersion: '1.1.0', name: BRIDGE.name, type: 'firewall', ingressPolicy: 'isolated' };
const portmap = (hostPort: number, backend: string) => ({
  ...{ cniVersion: '1.1.0', name: BRIDGE.name, type: 'portmap', backend },
  runtimeConfig: { portMappings: [{ hostPort, containerPort: 80 }] },
});

/** Answers on TCP port 80. */
async function serve(t: Test, { netns }: Container): Promise<void> {
  const script = `require('node:net').createServer((s) => s.on('error', () => {}).end('hello\\n')).listen(80, () => console.log('ready'))`;
  const child = spawn('nsenter', [`--net=${netns}`, '--', process.execPath, '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = once(child, 'exit');
  t.teardown(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  await once(child.stdout, 'data');
}

async function asks(netns: string, port: number): Promise<boolean> {
  const script = 'exec 3<>"/dev/tcp/$0/$1" && cat <&3';
  const args = ['2', 'bash', '--norc', '-c', script, UPLINK.v4, String(port)];
  return (await execIn(netns, 'timeout', args, { mayFail: true })).stdout.trim() === 'hello';
}

t.test('forwarding and published ports', { skip }, async (t) => {
  const world = await makeWorld(t);
  const outside = await makeOutside(t, world.host);
  const host = world.host.netns;
  const containers = [await world.container(), await world.container()] as const;
  const calls: [object, { container: Container; prevResult: object }][] = [];
  for (const [i, container] of containers.entries()) {
    const prevResult = await world.add(bridge, container);
    // One of each backend.
    for (const config of [portmap(8080 + i, i === 0 ? 'nftables' : 'iptables'), firewall]) {
      await world.ok('ADD', config, { container, prevResult });
      calls.push([config, { container, prevResult }]);
    }
    await serve(t, container);
  }
  const [a, b] = containers;
  const isWhole = async () => {
    for (const [config, options] of calls)
      if ((await world.call('CHECK', config, options)).status !== 0) return false;
    return true;
  };
  t.ok(await isWhole());
  t.ok(await asks(outside, 8080));
  t.ok(await asks(outside, 8081));

  const problems = async () => {
    const options = { mayFail: true };
    const { stdout } = await world.host.exec(join(pluginsUnderTest(), 'weft'), ['status', '--json'], options);
    return String(JSON.parse(stdout).problems);
  };
  await execIn(host, 'nft', ['delete', 'table', 'inet', 'weft-ports']);
  t.match(
    await problems(),
    new RegExp(`container ${a.id} lacks rule .*, element tcp 8080 : `),
    'without an agent',
  );
  await execIn(host, 'nft', ['flush', 'ruleset']);
  const agent = await startAgent(world.host, { bin: pluginsUnderTest() });
  await until('what was lost before the agent started is back', isWhole);
  // Each makes the same things be put back: no more often than what the agent bears within a minute.
  const deeds: [file: string, ...args: string[]][] = [
    ['nft', 'delete', 'table', 'inet', 'weft-ports'],
    ['nft', 'flush', 'set', 'inet', 'weft-ports', 'near4'],
    ['iptables', '-t', 'nat', '-F', 'WEFT-PORTS'],
    // Docker starts.
    ['iptables', '-P', 'FORWARD', 'DROP'],
    ['iptables', '-F'],
    ['ipset', 'flush', 'weft_let4'],
  ];
  for (const [file, ...args] of deeds) {
    const start = performance.now();
    await execIn(host, file, args);
    await until(`whole after ${file} ${args.join(' ')}`, isWhole);
    t.comment(`${file} ${args.join(' ')}: whole after ${Math.round(performance.now() - start)} ms`);
  }
  t.ok(await ping(a.netns, OUTSIDE.v4), 'through a host that forwards nothing by itself by now');
  t.ok(await asks(outside, 8080));
  t.ok(await asks(outside, 8081));
  for (const word of [
    'links apart',
    'in set inet weft-forward let4',
    'tcp 8080 :',
    'WEFT-PORTS',
    'WEFT-FORWARD',
    'weft_let4',
  ])
    await until(`${word} is said`, async () =>
      (await agent.log()).some(({ msg, what }) => msg === 'put back' && String(what).includes(word)),
    );

  for (const [config, { container }] of calls)
    await world.ok('DEL', config, { container: { id: container.id, netns: '' } });
  await execIn(host, 'nft', ['flush', 'ruleset']);
  await world.ok('DEL', bridge, { container: b });
  await until('the agent has looked', async () => (await firewallLines(host, a.id)).length > 0);
  const left = (await firewallLines(host, `"${BRIDGE.name} ${a.id}`, `"${BRIDGE.name} ${b.id}`)).length;
  t.equal(left, 0, 'what DEL took away does not come back');
});
