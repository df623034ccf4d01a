/** macspoofchk: a container sends from its own MAC or not at all. Proved with packets, over both families, ARP included. */
import { chmod, mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { NetlinkError } from '../../netlink/door.ts';
import { openDoor } from '../../netlink/namespace.ts';
import { hostLinkName } from '../../plan/names.ts';
import { execIn, firewallLines, leases, links, nft, ping, SILENCE } from '../support/host.ts';
import { failingDoor } from './failing-door.ts';
import { BRIDGE, L2, makeWorld } from './world.ts';

const GUARDED = { ...BRIDGE, macspoofchk: true };
const RULE = 'weft/1 drop what does not come from the MAC of the container';

/** A folder of programs in place of the machine's: `nft` as given, and what the host's tools need. */
async function programs(dir: string, nftScript: string): Promise<Record<string, string>> {
  await mkdir(dir);
  await writeFile(join(dir, 'nft'), `#!/bin/sh\ncat >/dev/null\n${nftScript}\n`);
  await chmod(join(dir, 'nft'), 0o755);
  await symlink('/usr/bin/nsenter', join(dir, 'nsenter'));
  return { PATH: `${dir}:/usr/bin:/bin` };
}

t.test('a container that changes its MAC reaches nobody, until it changes it back', async (t) => {
  const world = await makeWorld(t);
  const [a, b] = [await world.container(), await world.container()];
  const one = await world.add(GUARDED, a);
  await world.add(GUARDED, b);
  const own = one.interfaces[2].mac;
  const change = (mac: string) => execIn(a.netns, 'ip', ['link', 'set', 'eth0', 'address', mac]);
  for (const target of ['10.1.0.1', '10.1.0.3', 'fd00:1::3']) t.ok(await ping(a.netns, target), target);

  await change('0a:00:00:00:00:66');
  for (const target of ['10.1.0.1', '10.1.0.3', 'fd00:1::3'])
    t.notOk(await ping(a.netns, target, SILENCE), target);
  await execIn(b.netns, 'ip', ['neigh', 'flush', 'dev', 'eth0']);
  t.notOk(await ping(b.netns, '10.1.0.2', SILENCE), 'nor does its answer to ARP get out');
  t.ok(await ping(b.netns, '10.1.0.1'), 'its neighbour is not held back');

  await change(own);
  for (const target of ['10.1.0.1', '10.1.0.3', 'fd00:1::3']) t.ok(await ping(a.netns, target), target);
});

t.test('one rule for all containers; the elements say whose they are, and go with DEL', async (t) => {
  const world = await makeWorld(t);
  const [a, b] = [await world.container(), await world.container()];
  const one = await world.add(GUARDED, a);
  await world.add({ ...L2, macspoofchk: true }, b);
  const rules = (await nft(world.host.netns)).split('\n').filter((line) => line.includes(RULE));
  t.equal(rules.length, 1);
  const port = hostLinkName('mynet', { containerId: a.id, ifname: 'eth0' });
  const mac = one.interfaces[2].mac;
  t.same((await firewallLines(world.host.netns, a.id)).length, 2);
  t.match(await nft(world.host.netns), `"${port}" comment "mynet ${a.id} eth0 ${mac}"`);
  t.match(await nft(world.host.netns), `"${port}" . ${mac} comment "mynet ${a.id} eth0"`);
  await world.ok('CHECK', GUARDED, { container: a, prevResult: one });
  await world.ok('STATUS', GUARDED);

  // The namespace is gone, the previous result lost, the option switched off.
  for (const _ of [1, 2]) await world.ok('DEL', BRIDGE, { container: { id: a.id, netns: '' } });
  t.same(await firewallLines(world.host.netns, a.id), []);
  t.equal((await firewallLines(world.host.netns, b.id)).length, 2, 'the other keeps its elements');
  await world.ok('DEL', { ...L2, macspoofchk: true }, { container: b });
  t.same(await firewallLines(world.host.netns, b.id), []);
});

t.test(
  'CHECK names the rule and the elements that are missing, the next ADD puts the rule back',
  async (t) => {
    const world = await makeWorld(t);
    const [a, b] = [await world.container(), await world.container()];
    const prevResult = await world.add(GUARDED, a);
    const port = hostLinkName('mynet', { containerId: a.id, ifname: 'eth0' });
    const check = async () => (await world.call('CHECK', GUARDED, { container: a, prevResult })).json;
    await world.host.exec('nft', ['flush', 'chain', 'bridge', 'weft', 'prerouting']);
    t.match(await check(), { code: 101, msg: `MAC filter: rule "${RULE}" in chain prerouting` });
    await world.host.exec('nft', ['flush', 'set', 'bridge', 'weft', 'allowed']);
    await world.host.exec('nft', ['flush', 'set', 'bridge', 'weft', 'guarded']);
    const said = await check();
    t.match(said, { msg: `element ${port} in set guarded` });
    t.match(said, { msg: `element ${port} . ${prevResult.interfaces[2].mac} in set allowed` });

    await world.add(GUARDED, b);
    t.match(await check(), { code: 101, msg: /^((?!rule).)*$/ });
    await world.host.exec('nft', ['flush', 'ruleset']);
    await world.ok('DEL', GUARDED, { container: b });
    await world.add(GUARDED, b);
    t.match(await nft(world.host.netns), RULE);
    await world.ok('DEL', GUARDED, { container: a, prevResult });
  },
);

t.test('a container that is made again with another MAC is held to the new one alone', async (t) => {
  const world = await makeWorld(t);
  const [first, second] = [await world.container(), await world.container()];
  const before = await world.add(GUARDED, first);
  const again = { id: first.id, netns: second.netns };
  const asked = { ...GUARDED, runtimeConfig: { mac: '0a:00:00:00:00:07' } };
  await world.add(asked, again);
  t.equal((await firewallLines(world.host.netns, first.id)).length, 2);
  t.notMatch(await nft(world.host.netns), before.interfaces[2].mac);
  t.ok(await ping(second.netns, '10.1.0.1'));
});

t.test('GC takes what belongs to this network and to no valid attachment', async (t) => {
  const world = await makeWorld(t);
  const [a, b, c] = [await world.container(), await world.container(), await world.container()];
  await world.add(GUARDED, a);
  await world.add(GUARDED, b);
  await world.add({ ...L2, name: 'mynet2', macspoofchk: true }, c);
  const valid = [{ containerID: a.id, ifname: 'eth0' }];
  const { log } = await world.ok('GC', { ...BRIDGE, 'cni.dev/valid-attachments': valid });
  t.match(log.join('\n'), `removed MAC filter of mynet ${b.id} eth0`);
  t.same(
    await Promise.all([a, b, c].map(async ({ id }) => (await firewallLines(world.host.netns, id)).length)),
    [2, 0, 2],
  );
});

t.test(
  'a steady ADD and DEL ask the same of the kernel with many containers as with one, and run nothing',
  async (t) => {
    const world = await makeWorld(t);
    const config = { ...L2, macspoofchk: true };
    // A program that is run fails here.
    const env = await programs(join(world.host.root, 'programs'), 'exit 1');
    const cost = async () => {
      const container = await world.container();
      const doors = { ADD: failingDoor(openDoor(), 0), DEL: failingDoor(openDoor(), 0) };
      await world.ok('ADD', config, { container, env, door: doors.ADD });
      await world.ok('DEL', config, { container, env, door: doors.DEL });
      return [doors.ADD.asked.length, doors.DEL.asked.length];
    };
    const kept = await world.container();
    await world.add(config, kept);
    const one = await cost();
    const elements = Array.from(
      { length: 500 },
      (_, i) => `add element bridge weft guarded { x${i} comment "x ${i}" }`,
    );
    await execIn(world.host.netns, 'nft', ['-f', '-'], { input: elements.join('\n') });
    t.same(await cost(), one);
  },
);

t.test('a failure at any point leaves nothing', async (t) => {
  const world = await makeWorld(t);
  const container = await world.container();
  for (let n = 1; ; n += 1) {
    const door = failingDoor(openDoor(), n);
    const answer = await world.call('ADD', GUARDED, { container, door });
    if (door.asked.length < n) {
      t.equal(answer.status, 0);
      break;
    }
    const name = `failing at ${n}: ${door.asked[n - 1]}`;
    t.not(answer.status, 0, name);
    t.same(await firewallLines(world.host.netns, container.id), [], name);
    t.same(await links(container.netns), ['lo'], name);
    t.same(await leases(world.host), [], name);
  }
});

t.test('a kernel without nf_tables for bridges is named', async (t) => {
  const world = await makeWorld(t);
  const container = await world.container();
  // What nft prints where the table is taken and the hook is not.
  const env = await programs(
    join(world.host.root, 'programs'),
    `printf '/dev/stdin:4:1-9: Error: Could not process rule: Operation not supported\\nadd chain bridge weft prerouting\\n^^^\\n' >&2; exit 1`,
  );
  const answer = await world.call('ADD', GUARDED, { container, env });
  t.match(answer.json, { code: 102, msg: /no nf_tables for bridges \(CONFIG_NF_TABLES_BRIDGE\)/ });
  t.same(await links(container.netns), ['lo']);
  t.same(await leases(world.host), []);
});

t.test('nft fails: its words are passed on', async (t) => {
  const world = await makeWorld(t);
  const env = await programs(join(world.host.root, 'programs'), `echo 'x:1:1: Error: no luck' >&2; exit 1`);
  const answer = await world.call('ADD', GUARDED, { container: await world.container(), env });
  t.match(answer.json, { code: 105, msg: /nft failed: no luck/ });
});

t.test('a kernel without nf_tables at all: ADD 102, STATUS 50, DEL succeeds', async (t) => {
  const world = await makeWorld(t);
  const real = openDoor();
  const door: ReturnType<typeof openDoor> = {
    async open(path) {
      const namespace = await real.open(path);
      const send = (async (...ops) => {
        const at = ops.findIndex(({ family }) => family === 'netfilter');
        if (at < 0) return await namespace.send(...ops);
        return ops.map(({ what }, index) => ({
          ok: false,
          error: new NetlinkError({ errno: 'EOPNOTSUPP', what, index }),
        }));
      }) as typeof namespace.send;
      return {
        ...{ path: namespace.path, identity: namespace.identity, fd: namespace.fd, send },
        readFile: (file) => namespace.readFile(file),
        writeFile: (file, data) => namespace.writeFile(file, data),
        close: () => namespace.close(),
      };
    },
  };
  const container = await world.container();
  const add = await world.call('ADD', GUARDED, { container, door });
  t.match(add.json, { code: 102, msg: /no nf_tables for bridges/ });
  t.match((await world.call('STATUS', GUARDED, { door })).json, { code: 50, msg: /no nf_tables/ });
  await world.ok('DEL', GUARDED, { container, door });
});
