/** A host's part of a network between hosts, on good days and bad ones, without a kernel. */
import { readFileSync, writeFileSync } from 'node:fs';
import t from 'tap';
import { clashWithAnother } from '../../agent/cluster/words.ts';
import { membershipFile } from '../../ipam/cluster/membership.ts';
import { MemoryRegistries } from '../support/memory-registry.ts';
import { until } from '../support/until.ts';
import { FakeHost, L2, VXLAN } from './cluster-world.ts';

const joined = (host: FakeHost) =>
  until(`${host.name} is a member`, () => {
    const found = host.membership();
    return found && found.subnets.length > 0 && found.problem === undefined ? found : undefined;
  });

t.test('hosts join, see each other, and tell the plugins', async (t) => {
  const registries = new MemoryRegistries();
  const [a, b] = [new FakeHost(t, 'a', '192.0.2.1'), new FakeHost(t, 'b', '192.0.2.2')];
  const network = a.start(t, registries, VXLAN);
  b.start(t, registries, VXLAN);
  const [here, there] = [await joined(a), await joined(b)];
  t.match(here, {
    host: 'a',
    subnets: ['10.244.0.0/24'],
    pools: ['10.244.0.0/16'],
    mtu: 1450,
    device: 'weft.7',
  });
  t.not(`${here.subnets}`, `${there.subnets}`);
  await until('both know both', () =>
    [a, b].every(({ kernel }) => kernel?.state?.members.map(({ host }) => host).join() === 'a,b'),
  );
  t.match(await network.summary(), {
    joined: true,
    registry: { reachable: true },
    members: [
      { host: 'a', self: true },
      { host: 'b', self: false },
    ],
    problems: [],
  });
});

t.test('an agent that ends takes nothing away, and the next goes on without the registry', async (t) => {
  const registries = new MemoryRegistries();
  const [a, b] = [new FakeHost(t, 'a', '192.0.2.1'), new FakeHost(t, 'b', '192.0.2.2')];
  b.start(t, registries, VXLAN);
  await joined(b);
  const first = a.start(t, registries, VXLAN);
  const before = await joined(a);
  await until('b is known', () => a.kernel?.state?.members.length === 2);
  await first.close();
  t.ok(a.kernel, 'the kernel has it all');

  registries.down();
  // As after a reboot.
  a.kernel = undefined;
  const second = a.start(t, registries, VXLAN);
  await until('what was known is in the kernel', () => a.kernel?.state?.members.length === 2);
  await until('it is said', async () => !(await second.summary()).registry.reachable);
  t.same(a.membership(), before, 'whoever has a subnet gives out addresses without the registry');
  registries.up();
  await until('the registry answers', async () => (await second.summary()).registry.reachable);
  t.same((await joined(a)).subnets, before.subnets);
});

t.test('a registry that cannot be reached at the start is named, and joined when it comes', async (t) => {
  const registries = new MemoryRegistries();
  registries.down();
  const a = new FakeHost(t, 'a', '192.0.2.1');
  a.start(t, registries, VXLAN);
  await a.problem(/memory cannot be reached: it is tried again/);
  t.equal(a.kernel, undefined);
  // An agent that starts anew must not take what it wrote for a membership.
  a.start(t, registries, VXLAN);
  t.same(a.membership()?.subnets, []);
  registries.up();
  await joined(a);
});

t.test('a pool that overlaps a route of the host is refused by its name', async (t) => {
  const registries = new MemoryRegistries();
  const a = new FakeHost(t, 'a', '192.0.2.1');
  a.routes = ['route 10.244.9.0/24 dev eth1'];
  const network = a.start(t, registries, VXLAN);
  await a.problem(/pool 10\.244\.0\.0\/16 overlaps route 10\.244\.9\.0\/24 dev eth1 of this host: choose/);
  t.equal(registries.joins, 0);
  a.routes = [];
  network.look();
  await joined(a);
});

t.test('a pool that another network of the host has is refused', async (t) => {
  const registries = new MemoryRegistries();
  const a = new FakeHost(t, 'a', '192.0.2.1');
  const other = { ...VXLAN, name: 'first', pools: [{ prefix: '10.244.128.0/17', blockLength: 24 }] };
  const rivals = [other];
  const network = a.start(t, registries, VXLAN, { rivals: () => rivals });
  await a.problem(/pool 10\.244\.0\.0\/16 overlaps 10\.244\.128\.0\/17 of network first: choose/);
  rivals.pop();
  network.look();
  await joined(a);
});

t.test(
  'a VNI, device or bridge that another network of the host has is refused before joining',
  async (t) => {
    const registries = new MemoryRegistries();
    const pools = [{ prefix: '10.250.0.0/16', blockLength: 24 }];
    const own = { vni: 9, port: 4790, device: 'weft.9', bridge: 'weftbr.9' };
    const l3: typeof L2 = {
      ...{ name: 'first', backend: 'vxlan', pools },
      vxlan: {
        ...{ vni: 9, port: 4790, device: 'weft.9', containerBridge: 'weftbr.7' },
        ...{ directRoutes: false, checksumOffload: true },
      },
    };
    t.match(
      clashWithAnother(L2, [l3]),
      "bridge weftbr.7 is network first's on this host",
      'of an L3 network',
    );
    for (const [field, tunnel] of [
      ['vni 7', { ...own, vni: 7 }],
      ['device weft.7', { ...own, device: 'weft.7' }],
      ['bridge weftbr.7', { ...own, bridge: 'weftbr.7' }],
    ] as const) {
      const a = new FakeHost(t, 'a', '192.0.2.1');
      const first = { ...L2, name: 'first', pools, vxlan: { ...L2.vxlan, ...tunnel } } as typeof L2;
      const rivals = [first];
      const network = a.start(t, registries, L2, { rivals: () => rivals });
      await a.problem(new RegExp(`^${field} is network first's on this host: choose another \\w+$`));
      t.match(a.membership(), { refuses: true, subnets: [] }, field);
      t.same([registries.joins, a.kernel], [0, undefined]);
      // What has its names in the kernel is the other network's.
      a.kernel = { network: first, state: undefined };
      await network.leave(false);
      t.equal(a.kernel?.network.name, 'first');
    }
  },
);

t.test('a second host of the same name is refused', async (t) => {
  const registries = new MemoryRegistries();
  const [a, twin] = [new FakeHost(t, 'a', '192.0.2.1'), new FakeHost(t, 'a', '192.0.2.9')];
  a.start(t, registries, VXLAN);
  await joined(a);
  twin.start(t, registries, VXLAN);
  await twin.problem(/host a is registered with 192\.0\.2\.1/);
  t.equal(twin.kernel, undefined);
  t.equal(a.membership()?.problem, undefined);
});

t.test('a host whose address changes joins again, and the others follow', async (t) => {
  const registries = new MemoryRegistries();
  const [a, b] = [new FakeHost(t, 'a', '192.0.2.1'), new FakeHost(t, 'b', '192.0.2.2')];
  const network = a.start(t, registries, VXLAN);
  b.start(t, registries, VXLAN);
  const before = await joined(a);
  await joined(b);
  a.own = ['192.0.2.77'];
  network.look();
  await until('b has the new address', () =>
    b.kernel?.state?.members.some(({ host, addresses }) => host === 'a' && addresses[0] === '192.0.2.77'),
  );
  t.same(a.membership()?.subnets, before.subnets);
  a.own = [];
  network.look();
  await new Promise((resolve) => setImmediate(resolve));
  t.equal(a.membership()?.problem, undefined, 'a link that is down for a moment changes nothing');
});

t.test('a registration that somebody removed is made again', async (t) => {
  const registries = new MemoryRegistries();
  const a = new FakeHost(t, 'a', '192.0.2.1');
  a.start(t, registries, VXLAN);
  const { subnets } = await joined(a);
  await registries.open().leave('podnet', 'a');
  await until('it is back', () => registries.state('podnet').members[0]?.subnets.join() === subnets.join());
});

t.test('a subnet that went to another host is told, as far as containers have addresses of it', async (t) => {
  const registries = new MemoryRegistries();
  const a = new FakeHost(t, 'a', '192.0.2.1');
  const first = a.start(t, registries, VXLAN);
  const { subnets } = await joined(a);
  a.lease('10.244.0.5', 'web');
  await first.close();
  // Its time ran out, and somebody else came.
  await registries.open().leave('podnet', 'a');
  const b = new FakeHost(t, 'b', '192.0.2.2');
  b.start(t, registries, VXLAN);
  t.same((await joined(b)).subnets, subnets);
  a.start(t, registries, VXLAN);
  await a.problem(
    /10\.244\.0\.0\/24 went to another host.*containers here have addresses of it: make them anew/,
  );
  t.not(`${a.membership()?.subnets}`, `${subnets}`, 'new ones get what nobody else has');
});

t.test('a damaged membership file and a damaged memory are made anew', async (t) => {
  const registries = new MemoryRegistries();
  const a = new FakeHost(t, 'a', '192.0.2.1');
  const first = a.start(t, registries, VXLAN);
  const before = await joined(a);
  await first.close();
  const file = membershipFile(a.paths.cacheDir, 'podnet');
  for (const damaged of [file, file.replace('.json', '.known')]) {
    writeFileSync(damaged, readFileSync(damaged, 'utf8').slice(0, 40));
  }
  t.equal(a.membership(), undefined);
  a.start(t, registries, VXLAN);
  t.same(await joined(a), before, 'the registry knows');
});

t.test('what running containers hang on does not change below them', async (t) => {
  const registries = new MemoryRegistries();
  const a = new FakeHost(t, 'a', '192.0.2.1');
  const network = a.start(t, registries, VXLAN);
  await joined(a);
  a.lease('10.244.0.5', 'web');
  const other = {
    ...VXLAN,
    pools: [{ prefix: '10.99.0.0/16', blockLength: 24 }],
    vxlan: { ...VXLAN.vxlan, vni: 8, device: 'weft.8' },
  } as typeof VXLAN;
  network.change({ network: other, file: 'podnet.conflist' });
  await a.problem(
    /podnet\.conflist changes network from 10\.244\.0\.0\/16 to 10\.99\.0\.0\/16 and vni from 7 to 8 .*hold 1 address/,
  );
  t.equal(a.kernel?.network.vxlan?.vni, 7);
  a.release('10.244.0.5', 'web');
  network.look();
  await until('the new one is there', () => a.membership()?.subnets[0]?.startsWith('10.99.'));
  t.equal(a.kernel?.network.vxlan?.vni, 8);
  t.same(registries.state('podnet').members[0]?.subnets, ['10.99.0.0/24'], 'the old subnet is given back');

  // What does not matter to them changes at once.
  a.lease('10.99.0.5', 'web');
  network.change({ network: { ...other, mtu: 1400 }, file: 'podnet.conflist' });
  await until('the kernel follows', () => a.kernel?.network.mtu === 1400 && a.kernel.state);
  t.equal((await joined(a)).problem, undefined);
});

t.test('leaving is refused while containers hold addresses', async (t) => {
  const registries = new MemoryRegistries();
  const a = new FakeHost(t, 'a', '192.0.2.1');
  const network = a.start(t, registries, VXLAN);
  await joined(a);
  a.lease('10.244.0.5', 'web');
  network.change(undefined);
  t.rejects(network.leave(false), /hold 1 address of network podnet: remove them first; --force leaves/);
  t.ok(a.kernel);
  await network.leave(true);
  t.equal(a.kernel, undefined);
  t.equal(a.membership(), undefined);
  t.same(registries.state('podnet').members, []);
});

t.test('a network whose conflist is gone is kept, also by the next agent', async (t) => {
  const registries = new MemoryRegistries();
  const a = new FakeHost(t, 'a', '192.0.2.1');
  const first = a.start(t, registries, VXLAN);
  await joined(a);
  first.change(undefined);
  await first.close();
  const second = a.start(t, registries, undefined);
  await until('it is a member', async () => (await second.summary()).joined);
  t.match(await second.summary(), { backend: 'vxlan', device: 'weft.7', vni: 7 });
  registries.down();
  await t.rejects(second.leave(false), /cannot be reached/);
  t.ok(a.kernel, 'nothing is half done');
  registries.up();
  await second.leave(false);
  t.equal(a.kernel, undefined);
});

t.test('a kernel that refuses is quoted', async (t) => {
  const registries = new MemoryRegistries();
  const a = new FakeHost(t, 'a', '192.0.2.1');
  a.refusal = 'VNI 7 is used by vxlan0: choose another';
  const network = a.start(t, registries, VXLAN);
  t.match(await a.problem(/VNI 7 is used by vxlan0/), /choose another/);
  t.equal(a.membership()?.limited, true);
  a.refusal = undefined;
  network.look();
  await joined(a);
  a.hooks?.applied(1450, ['the device cannot be set up']);
  t.match(a.membership(), { problem: 'the device cannot be set up', limited: true });
  a.hooks?.applied(1400, []);
  t.match(a.membership(), { problem: undefined, mtu: 1400 });
});

t.test('a host that got another name keeps the old one while containers need it', async (t) => {
  const registries = new MemoryRegistries();
  const a = new FakeHost(t, 'a', '192.0.2.1');
  const first = a.start(t, registries, VXLAN);
  await joined(a);
  a.lease('10.244.0.5', 'web');
  await first.close();
  const second = a.start(t, registries, VXLAN, { host: 'z' });
  await a.problem(/this host was a and shall be z, but containers here hold 1 address.*--node a/);
  t.equal((await second.summary()).host, 'a');
  await second.close();
  a.release('10.244.0.5', 'web');
  a.start(t, registries, VXLAN, { host: 'z' });
  t.equal((await joined(a)).host, 'z');
  t.ok(a.said.some((line) => /remove it with "weft network leave --node a"/.test(line)));
});

t.test('L2: containers are told to the others, and move', async (t) => {
  const registries = new MemoryRegistries();
  const [a, b] = [new FakeHost(t, 'a', '192.0.2.1'), new FakeHost(t, 'b', '192.0.2.2')];
  const [one, two] = [a.start(t, registries, L2), b.start(t, registries, L2)];
  await joined(a);
  await joined(b);
  const endpoints = () =>
    registries.state('podnet').endpoints.map(({ address, mac, host }) => [address, mac, host].join(' '));
  a.lease('10.244.0.2', 'web', '02:00:00:00:00:22');
  one.look();
  await until('it is told', () => endpoints().join() === '10.244.0.2 02:00:00:00:00:22 a');
  await until('b has it', () => b.kernel?.state?.endpoints.length === 1);

  // The same address and MAC on b; the container on a is not gone yet.
  b.lease('10.244.0.2', 'web2', '02:00:00:00:00:22');
  two.look();
  await until('it moved', () => endpoints().join() === '10.244.0.2 02:00:00:00:00:22 b');
  await until('a keeps the address for nobody else', () => a.membership()?.away?.join() === '10.244.0.2');
  const told = registries.publications;
  for (const network of [one, two, one]) network.look();
  await new Promise((resolve) => setTimeout(resolve, 50));
  t.equal(registries.publications, told, 'nobody takes it back');
  a.release('10.244.0.2', 'web');
  one.look();
  await new Promise((resolve) => setTimeout(resolve, 50));
  t.same(endpoints(), ['10.244.0.2 02:00:00:00:00:22 b'], 'the old one going changes nothing');
  b.release('10.244.0.2', 'web2');
  two.look();
  await until('nothing is told any more', () => endpoints().length === 0);
});

t.test('L2: blocks follow the number of containers', async (t) => {
  const registries = new MemoryRegistries();
  const a = new FakeHost(t, 'a', '192.0.2.1');
  const network = a.start(t, registries, L2);
  await joined(a);
  for (let n = 1; n <= 9; n++) a.lease(`10.244.0.${n}`, `c${n}`, `02:00:00:00:00:0${n}`);
  network.look();
  await until('there is another block', () => a.membership()?.subnets.length === 2);
  for (let n = 1; n <= 9; n++) a.release(`10.244.0.${n}`, `c${n}`);
  const held = () => registries.state('podnet').members[0]?.subnets.length;
  /** Milliseconds on the host's clock until it is so, at least. */
  const elapsed = async (what: string, step: number, condition: () => boolean) => {
    const start = a.now;
    await until(what, () => {
      a.now += step;
      network.look();
      return condition();
    });
    return a.now - start;
  };
  const idle = await elapsed('plugins no longer see it', 10_000, () => a.membership()?.subnets.length === 1);
  t.ok(idle >= 600_000, 'it is kept for a while');
  t.equal(held(), 2, 'a plugin may still be at it');
  const retired = await elapsed('it is given back', 3000, () => held() === 1);
  t.ok(retired >= 15_000);
});

t.test(
  'L2: a pool of which nothing is left is a problem when no address is free, and not before',
  async (t) => {
    const registries = new MemoryRegistries();
    const a = new FakeHost(t, 'a', '192.0.2.1');
    // One block is all.
    const small = { ...L2, pools: [{ prefix: '10.244.0.0/28', blockLength: 28 }] };
    const network = a.start(t, registries, small);
    await joined(a);
    for (let n = 0; n < 15; n++) a.lease(`10.244.0.${n}`, `c${n}`);
    network.look();
    await new Promise((resolve) => setTimeout(resolve, 100));
    t.equal(a.membership()?.problem, undefined);
    a.lease('10.244.0.15', 'last');
    a.now += 31_000;
    network.look();
    await a.problem(/no subnet of 10\.244\.0\.0\/28 is free/);
  },
);
