/** An agent in the foreground: who is served, who is not, how it starts and ends. */
import { chmod, cp, mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { startAgent } from '../support/agent.ts';
import { ip, leases, links, makeHost } from '../support/host.ts';
import { until } from '../support/until.ts';
import { BIN, call, NETWORK, ok, served } from './support.ts';

t.test('every verb is served, and the result is that of the cold path', async (t) => {
  const host = await makeHost(t);
  const agent = await startAgent(host, { bin: BIN });
  const [a, b] = [await host.container(), await host.container()];
  const warm = await ok(host, 'ADD', { container: a });
  const cold = await ok(host, 'ADD', { container: b, env: { WEFT_AGENT: 'off' } });
  t.equal(await served(agent, 'ADD', 1), 1);
  t.match(warm.json.ips, [{ address: '10.88.0.2/16', gateway: '10.88.0.1' }]);
  t.match(cold.json.ips, [{ address: '10.88.0.3/16', gateway: '10.88.0.1' }]);
  t.same(Object.keys(warm.json), Object.keys(cold.json));
  const config = { ...NETWORK, prevResult: warm.json };
  await ok(host, 'CHECK', { container: a, config });
  await ok(host, 'STATUS', { config: { ...NETWORK, cniVersion: '1.1.0' } });
  await ok(host, 'GC', {
    config: {
      ...{ ...NETWORK, cniVersion: '1.1.0' },
      'cni.dev/valid-attachments': [{ containerID: a.id, ifname: 'eth0' }],
    },
  });
  t.same(await leases(host), ['agentnet/10.88.0.2'], 'GC took the other one away');
  await ok(host, 'DEL', { container: a, config });
  for (const command of ['CHECK', 'STATUS', 'GC', 'DEL'])
    t.equal(await served(agent, command, 1), 1, command);
  t.match((await ok(host, 'VERSION')).json, { supportedVersions: ['0.1.0'] });
  // As libcni asks: with words where others have folders.
  const dummies = { CNI_PATH: 'dummy', CNI_NETNS: 'dummy', CNI_IFNAME: 'dummy' };
  t.match((await ok(host, 'VERSION', { env: dummies })).json, { supportedVersions: ['0.1.0'] });
  t.equal(await served(agent, 'VERSION', 2), 2, 'VERSION');
  t.same(await links(host.netns), ['br0', 'lo']);
});

t.test('errors and log lines reach the caller', async (t) => {
  const host = await makeHost(t);
  const agent = await startAgent(host, { bin: BIN });
  const container = await host.container();
  await ok(host, 'ADD', { container });
  const again = await call(host, 'ADD', { container });
  t.equal(again.status, 1);
  t.match(again.json, { code: 104, msg: /eth0/ });
  t.equal(await served(agent, 'ADD', 2), 2);
  t.match(
    await ip(container.netns, 'link', 'show', 'eth0'),
    [{ ifname: 'eth0' }],
    'the container keeps its link',
  );
  const odd = await ok(host, 'DEL', { container, config: { ...NETWORK, mtu: 'many' } });
  t.match(odd.stderr, /ignored.*mtu/s);
});

t.test('the socket is root’s alone, in a folder of root’s', async (t) => {
  const host = await makeHost(t);
  await chmod(host.dirs.run, 0o755);
  const { socket } = await startAgent(host, { bin: BIN });
  t.equal((await stat(socket)).mode & 0o777, 0o600);
  t.equal((await stat(host.dirs.run)).mode & 0o777, 0o700);
});

t.test('a second agent says that there is one; a killed one’s socket is replaced', async (t) => {
  const host = await makeHost(t);
  const first = await startAgent(host, { bin: BIN });
  const second = await host.exec(join(BIN, 'weft'), ['agent'], { mayFail: true });
  t.equal(second.status, 1);
  t.match(second.stderr, /an agent runs already in .*stop it first/);
  await first.signal('KILL');
  await first.ended();
  t.ok((await stat(first.socket)).isSocket(), 'left behind');
  t.equal((await ok(host, 'VERSION')).status, 0, 'nobody listens: cold');
  const third = await startAgent(host, { bin: BIN, name: 'third' });
  await ok(host, 'VERSION');
  t.equal(await served(third, 'VERSION', 1), 1);
});

t.test('TERM: what was taken is finished, then the socket goes', async (t) => {
  const host = await makeHost(t);
  const agent = await startAgent(host, { bin: BIN });
  const containers = await Promise.all(Array.from({ length: 8 }, () => host.container()));
  const adds = containers.map((container) => ok(host, 'ADD', { container }));
  await until('something is taken', async () => (await leases(host)).length > 0);
  await agent.signal('TERM');
  const addresses = (await Promise.all(adds)).map(({ json }) => json.ips[0].address);
  await agent.ended();
  t.equal(new Set(addresses).size, containers.length);
  await t.rejects(stat(agent.socket), { code: 'ENOENT' });
  t.match((await agent.log()).at(-1), { msg: 'stopped' });
  for (const container of containers) await ok(host, 'DEL', { container });
  t.same(await leases(host), []);
});

t.test('TERM while nobody reads its log', async (t) => {
  const host = await makeHost(t);
  const file = (name: string) => join(host.root, name);
  // The pipe is full before the agent writes its first line.
  const script = `cd "$1"; mkfifo pipe; exec 3<>pipe; dd if=/dev/zero of=pipe bs=4096 oflag=nonblock
    "$2" agent >pipe & echo $! >pid; wait $!; echo $? >status`;
  await host.daemon('unread', 'sh', ['-c', script, 'sh', host.root, join(BIN, 'weft')]);
  await until('it listens', () => stat(join(host.dirs.run, 'agent.sock')));
  await host.exec('kill', [(await readFile(file('pid'), 'utf8')).trim()]);
  t.equal(await until('it has ended', () => readFile(file('status'), 'utf8')), '0\n');
});

t.test('who stands in another network or mount namespace is not served', async (t) => {
  const host = await makeHost(t);
  const other = await makeHost(t);
  const agent = await startAgent(host, { bin: BIN });
  const env = { WEFT_RUN_DIR: host.dirs.run };
  const container = await other.container();
  await ok(other, 'ADD', { container, env });
  t.ok((await links(other.netns)).includes('br0'), 'made where it was called');
  t.same(await links(host.netns), ['lo']);
  await ok(other, 'DEL', { container, env });

  const script = 'exec unshare --mount "$@"';
  const env2 = { CNI_COMMAND: 'VERSION' };
  await host.exec('sh', ['-c', script, 'sh', join(BIN, 'bridge')], { env: env2, input: '{}' });
  await host.exec('sh', ['-c', 'exec unshare --net "$@"', 'sh', join(BIN, 'bridge')], {
    env: env2,
    input: '{}',
  });
  t.equal(await served(agent, 'VERSION'), 0);
  await host.exec(join(BIN, 'bridge'), [], { env: env2, input: '{}' });
  t.equal(await served(agent, 'VERSION', 1), 1);
});

t.test('another build beside the launcher, or an upgrade in place: cold', async (t) => {
  const host = await makeHost(t);
  const agent = await startAgent(host, { bin: BIN });
  const copy = join(host.root, 'copy');
  await mkdir(copy);
  await cp(BIN, copy, { recursive: true });
  t.equal((await ok(host, 'VERSION', { bin: copy })).status, 0);
  t.equal(await served(agent, 'VERSION'), 0);

  const own = await startAgentOf(host, copy, agent);
  await ok(host, 'VERSION', { bin: copy });
  t.equal(await served(own, 'VERSION', 1), 1);
  await cp(join(BIN, 'weft-core.js'), join(copy, 'weft-core.js'));
  t.equal((await ok(host, 'VERSION', { bin: copy })).status, 0);
  t.equal(await served(own, 'VERSION', 1), 1, 'the file has changed');
});

async function startAgentOf(
  host: Parameters<typeof startAgent>[0],
  bin: string,
  before: Awaited<ReturnType<typeof startAgent>>,
) {
  await before.signal('TERM');
  await before.ended();
  return startAgent(host, { bin, name: 'own' });
}

t.test('paths that mean something else to the agent go the cold path', async (t) => {
  const host = await makeHost(t);
  const agent = await startAgent(host, { bin: BIN });
  const container = await host.container();
  // /proc/self is the caller, not the agent.
  const script = 'exec 9<"$1"; shift; CNI_NETNS=/proc/self/fd/9 exec "$@"';
  const env = { CNI_COMMAND: 'ADD', CNI_CONTAINERID: container.id, CNI_IFNAME: 'eth0', CNI_PATH: BIN };
  await host.exec('sh', ['-c', script, 'sh', container.netns, join(BIN, 'bridge')], {
    env,
    input: JSON.stringify(NETWORK),
  });
  t.ok((await links(container.netns)).includes('eth0'));
  t.equal(await served(agent, 'ADD'), 0);
  await ok(host, 'DEL', { container });

  const folder = join(host.root, 'work');
  await mkdir(folder);
  const config = { ...NETWORK, name: 'relative', ipam: { ...NETWORK.ipam, dataDir: 'here' } };
  const file = join(folder, 'conf');
  await writeFile(file, JSON.stringify(config));
  await host.exec('sh', ['-c', 'cd "$1"; shift; exec "$@" <conf', 'sh', folder, join(BIN, 'bridge')], {
    env: { ...env, CNI_NETNS: container.netns },
  });
  t.ok((await stat(join(folder, 'here', 'relative', '10.88.0.2'))).isFile(), 'relative to the caller');

  // What the kernel takes for no path at all is an error of the caller's, and no end of the agent.
  const nowhere = { id: container.id, netns: `/${'x'.repeat(5000)}` };
  t.match((await call(host, 'ADD', { container: nowhere })).json, { code: 8, msg: /cannot be found/ });
  t.equal(await served(agent, 'ADD', 1), 1);
});

t.test('a caller that is killed: what its ADD made goes again, and DEL comes after it', async (t) => {
  const host = await makeHost(t);
  const agent = await startAgent(host, { bin: BIN });
  const container = await host.container();
  await ok(host, 'ADD', { container });
  await ok(host, 'DEL', { container });
  // The lock of the leases, held by somebody else, stops the next ADD in its middle.
  const [lock, gate, conf, pid] = ['lock', 'gate', 'conf.json', 'caller.pid'].map((name) =>
    join(host.root, name),
  );
  const leaseLock = join(host.dirs.data, 'agentnet', 'lock');
  await host.exec('mkfifo', [gate as string]);
  await host.daemon('holder', 'flock', [
    leaseLock,
    'sh',
    '-c',
    'echo >"$1"; read x <"$2"',
    'sh',
    `${lock}`,
    `${gate}`,
  ]);
  await until('the lock is held', () => stat(`${lock}`));
  await writeFile(`${conf}`, JSON.stringify(NETWORK));
  const script = '"$@" <"$CONF" & echo $! >"$PID_FILE"; wait';
  await host.daemon('caller', 'sh', ['-c', script, 'sh', join(BIN, 'bridge')], {
    ...{ CNI_COMMAND: 'ADD', CNI_CONTAINERID: container.id, CNI_IFNAME: 'eth0', CNI_PATH: BIN },
    ...{ CNI_NETNS: container.netns, CONF: `${conf}`, PID_FILE: `${pid}` },
  });
  await until('the ADD waits', async () => /-> FLOCK/.test((await host.exec('cat', ['/proc/locks'])).stdout));
  const caller = (await readFile(`${pid}`, 'utf8')).trim();
  await host.exec('kill', ['-KILL', caller]);
  // Its sockets are closed when it is gone; before, the ADD could still end for a caller that lives.
  await until('the caller has ended', async () => {
    return (await host.exec('kill', ['-0', caller], { mayFail: true })).status !== 0;
  });
  const deleted = ok(host, 'DEL', { container });
  await writeFile(`${gate}`, 'go\n');
  await deleted;
  t.same(await leases(host), []);
  t.same(await links(container.netns), ['lo']);
  t.same(await links(host.netns), ['br0', 'lo']);
  const log = await until('both are told', async () => {
    const lines = (await agent.log()).filter(({ msg }) => msg === 'served').slice(2);
    return lines.length === 2 && lines;
  });
  t.match(log, [
    { command: 'ADD', abandoned: true },
    { command: 'DEL', abandoned: false },
  ]);
  t.match((await ok(host, 'ADD', { container })).json.ips, [{ address: /^10[.]88/ }]);
});
