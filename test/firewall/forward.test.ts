/** What is put where so that containers are let through, on hosts of each kind; and that it costs no process where nftables suffice. */
import t from 'tap';
import { type Admission, forwardRules } from '../../firewall/forward.ts';
import { iptablesForward } from '../../firewall/forward-iptables.ts';
import { openDoor } from '../../netlink/namespace.ts';
import { realAmbient } from '../../runtime/ambient.ts';
import { execIn, firewallLines, makeHost, type Teardown } from '../support/host.ts';

const admission = (containerId: string, more: Partial<Admission> = {}): Admission => ({
  ...{ network: 'net1', containerId, ifname: 'eth0', policy: 'open', adminChain: 'CNI-ADMIN' },
  addresses: [
    { family: 4, address: '10.66.1.2' },
    { family: 6, address: 'fd00:66::2' },
  ],
  ...more,
});

async function hostOf(t: Teardown) {
  const host = await makeHost(t);
  const door = await openDoor().open(host.netns);
  t.teardown(() => door.close());
  const real = realAmbient(host.env);
  const started: string[] = [];
  const run: typeof real.run = (file, args, options) => {
    started.push([file, ...args].join(' '));
    return real.run(file, args, options);
  };
  const ambient = { ...real, run };
  return { netns: host.netns, door, ambient, started, rules: forwardRules(door, ambient) };
}

t.test('nftables: one program for the first container of a host, none for others', async (t) => {
  const { netns, rules, started } = await hostOf(t);
  const [one, two] = [admission('one'), admission('two', { policy: 'same-bridge', link: 'br0' })];
  await rules.admit(one);
  t.equal(started.length, 1);
  t.same(await rules.missing([one]), [[]]);
  const [lacks = [], has = []] = await rules.missing([two, one]);
  t.match(lacks, [/links-apart$/, /let4 \(it is there for "net1 one eth0"\)$/]);
  t.same(has, []);
  await rules.admit(two);
  t.same(await rules.missing([two]), [[]], 'who has the address by now has the element');
  await rules.withdraw(one);
  t.same(await rules.missing([two]), [[]], 'and keeps it when the one before him goes');
  await rules.collect('net2', []);
  t.same(await rules.collect('net1', [{ containerId: 'two', ifname: 'eth0' }]), []);
  t.same(await rules.collect('net1', []), ['forwarding of net1 two eth0']);
  t.same(await firewallLines(netns, 'net1', '"br0"'), []);
  t.equal(started.length, 1);
  t.notMatch((await execIn(netns, 'nft', ['list', 'tables'])).stdout, /ip6? filter/);
});

t.test('somebody flushes the ruleset while a container is let through', async (t) => {
  const { netns, door, ambient } = await hostOf(t);
  let flushes = 3;
  const run: typeof ambient.run = async (...args) => {
    const result = await ambient.run(...args);
    if (flushes-- > 0) await execIn(netns, 'nft', ['flush', 'ruleset']);
    return result;
  };
  const rules = forwardRules(door, { ...ambient, run });
  await rules.admit(admission('one'));
  t.same(await rules.missing([admission('one')]), [[]]);
});

for (const variant of ['nft', 'legacy'] as const) {
  t.test(`iptables-${variant} that drop get accepts, and no drops`, async (t) => {
    const { netns, rules } = await hostOf(t);
    const [one, two] = [
      admission('one'),
      admission('two', { addresses: [{ family: 4, address: '10.66.1.3' }] }),
    ];
    await execIn(netns, `iptables-${variant}`, ['-P', 'FORWARD', 'DROP']);
    await rules.admit(one);
    await rules.admit(two);
    t.same(await rules.missing([one, two]), [[], []]);
    // Without a table's name, legacy iptables-save makes none come into being.
    const saved = async (program: string) =>
      (await execIn(netns, `${program}-${variant}-save`, [])).stdout
        .split('\n')
        .filter((line) => /^-A/.test(line));
    t.match(await saved('iptables'), [
      /^-A FORWARD .* -j WEFT-FORWARD$/,
      /-j CNI-ADMIN$/,
      /weft_let4 dst .*-j ACCEPT$/,
      /weft_let4 src/,
    ]);
    t.equal((await saved('iptables')).length, 4);
    t.same(await saved('ip6tables'), [], 'the other family drops nothing');
    t.equal((await firewallLines(netns, 'weft_let4')).filter((line) => line.startsWith('add')).length, 2);

    await execIn(netns, `iptables-${variant}`, ['-F']);
    const [lost = [], others = []] = await rules.missing([one, two]);
    t.equal(lost.length, 4);
    t.same(others, [], 'the rules are the same for all');
    await rules.admit(one);
    t.same(await rules.missing([one, two]), [[], []]);
    await rules.withdraw({ ...one, addresses: [] });
    await rules.collect('net1', []);
    t.same(await firewallLines(netns, 'net1'), []);
  });
}

t.test('iptables without ipset: a pair of rules for each container', async (t) => {
  const { netns, door, ambient } = await hostOf(t);
  const iptables = iptablesForward(door, ambient, false);
  const places = [{ family: 4, variant: 'nft' }] as const;
  const [one, two] = [
    admission('one', { rules: 'iptables', policy: 'isolated', link: 'br0' }),
    admission('two'),
  ];
  await iptables.admit(one, places);
  await iptables.admit(two, places);
  t.same(
    await iptables.missing([
      { admission: one, places },
      { admission: two, places },
    ]),
    [[], []],
  );
  const targets = async () =>
    [...(await execIn(netns, 'iptables', ['-S', 'WEFT-FORWARD'])).stdout.matchAll(/-j (\S+)/g)].map(
      ([, target]) => target,
    );
  t.same(await targets(), ['CNI-ADMIN', 'WEFT-ISOLATION', 'ACCEPT', 'ACCEPT', 'ACCEPT', 'ACCEPT']);
  // Where the kernel has learnt of ipset meanwhile, the rules become entries.
  await iptablesForward(door, ambient).admit(one, places);
  t.equal((await firewallLines(netns, '"net1 one eth0"')).length, 1);
  await iptables.withdraw(one);
  t.same(await iptables.collect('net1', []), ['forwarding of net1 two eth0']);
  t.same(await firewallLines(netns, 'net1'), []);
});
