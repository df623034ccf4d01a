/** Rules as the programs of real hosts make them, loaded into a kernel and read back. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { renderNftables } from '../../../firewall/forward-ruleset.ts';
import { renderFilter } from '../../../firewall/mac-filter-ruleset.ts';
import { renderCommands as renderMasquerade } from '../../../firewall/nftables-ruleset.ts';
import { ownerMark } from '../../../firewall/ownership.ts';
import { publicationMark, renderPorts } from '../../../firewall/ports-ruleset.ts';
import type { Chain, Rule, Ruleset } from '../../../inspect/ruleset/model.ts';
import { readRuleset } from '../../../inspect/ruleset/read.ts';
import { openDoor } from '../../../netlink/namespace.ts';
import { realAmbient } from '../../../runtime/ambient.ts';
import { execIn, type Host, makeHost } from '../../support/host.ts';

const FOLDER = join(import.meta.dirname, '..', 'rulesets');

async function read(netns: string): Promise<Ruleset> {
  const namespace = await openDoor().open(netns);
  try {
    return await readRuleset(namespace, realAmbient({ PATH: process.env.PATH }));
  } finally {
    namespace.close();
  }
}

/** Loads a file into a namespace of its own; reading it leaves no trace there. */
async function load(t: Test, host: Host, file: string, restore = 'iptables-nft-restore'): Promise<Ruleset> {
  const { netns } = await host.container();
  const path = join(FOLDER, file);
  if (file.endsWith('.nft')) await execIn(netns, 'nft', ['-f', path]);
  else {
    const sets = await readFile(path.replace(/iptables$/, 'ipset'), 'utf8').catch(() => '');
    if (sets) await execIn(netns, 'ipset', ['restore'], { input: sets });
    await execIn(netns, restore, [path]);
  }
  const listing = async () => (await execIn(netns, 'nft', ['-a', 'list', 'ruleset'])).stdout;
  const before = await listing();
  const ruleset = await read(netns);
  t.equal(await listing(), before, `reading ${file} changes nothing`);
  t.strictSame(ruleset.unread, [], `all of ${file} is read`);
  return ruleset;
}

const attachment = (containerId: string) => ({ network: 'podnet', containerId, ifname: 'eth0' });
const port = { protocol: 'tcp', family: 4, hostPort: 80, address: '10.1.0.5', containerPort: 80 } as const;

const chainsOf = ({ tables }: Ruleset): Chain[] => tables.flatMap(({ chains }) => chains);
const rulesOf = (ruleset: Ruleset): Rule[] => chainsOf(ruleset).flatMap(({ rules }) => rules);

function rule(ruleset: Ruleset, words: string): Rule {
  const found = rulesOf(ruleset).find(({ text }) => text.includes(words));
  if (found === undefined)
    throw new Error(`no rule with ${words} among ${rulesOf(ruleset).map(({ text }) => text)}`);
  return found;
}

/** Everybody who has a rule, each once. */
const owners = (ruleset: Ruleset) => [...new Set(rulesOf(ruleset).map(({ owner }) => owner.who))].sort();

/** What the model could not say. */
const unknowns = (ruleset: Ruleset) =>
  rulesOf(ruleset).flatMap(({ matches, statements }) => [
    ...matches.flatMap((match) => ('unknown' in match ? [match.unknown] : [])),
    ...statements.flatMap((statement) => (statement.kind === 'unknown' ? [statement.text] : [])),
  ]);

t.test('rules of real programs', async (t) => {
  const host = await makeHost(t);

  await t.test('Docker, by either iptables', async (t) => {
    const docker = await load(t, host, 'docker.iptables');
    t.strictSame(owners(docker), ['docker', 'somebody else']);
    t.strictSame(unknowns(docker), []);
    t.match(rule(docker, '--to-destination'), {
      matches: [
        { fields: ['iifname'], not: true, values: [{ text: 'docker0' }] },
        { fields: ['protocol'], not: false, values: [{ text: 'tcp' }] },
        { fields: ['dport'], not: false, values: [{ from: 8081, to: 8081 }] },
      ],
      statements: [{ kind: 'dnat', address: '172.17.0.2', port: '80' }],
      owner: { who: 'docker' },
      counters: { packets: 0, bytes: 0 },
    });
    t.equal(rule(docker, '-i uplink -j DROP').owner.who, 'somebody else', "the administrator's own");
    const forward = chainsOf(docker).find(({ base }) => base?.hook === 'forward');
    t.match(forward?.base, { type: 'filter', priority: 0, policy: 'drop' });
    t.ok(
      rulesOf(docker).every(({ handle }) => handle !== undefined),
      'with the handles of the kernel',
    );

    const legacy = await load(t, host, 'docker.iptables', 'iptables-legacy-restore');
    t.strictSame([...new Set(legacy.tables.map(({ variant }) => variant))], ['iptables-legacy']);
    const plain = (ruleset: Ruleset) =>
      ruleset.tables
        .toSorted((a, b) => a.name.localeCompare(b.name))
        .flatMap(({ name, chains }) =>
          chains
            .toSorted((a, b) => a.name.localeCompare(b.name))
            .map((chain) => ({
              ...{ name, chain: chain.name, base: chain.base },
              rules: chain.rules.map(({ handle: _, ...rest }) => rest),
            })),
        );
    const made = new Set(plain(docker).map(({ name, chain }) => `${name} ${chain}`));
    t.strictSame(
      // Legacy tables always have all chains of their hooks.
      plain(legacy).filter(({ name, chain }) => made.has(`${name} ${chain}`)),
      plain(docker),
      'the same rules with the same meaning, hooks and owners',
    );
  });

  await t.test('kube-proxy, by iptables', async (t) => {
    const kube = await load(t, host, 'kube-proxy.iptables');
    t.strictSame(owners(kube), ['kube-proxy']);
    t.strictSame(unknowns(kube), ['-m statistic --mode random --probability 0.50000000000']);
    t.match(rule(kube, '--set-xmark 0x4000/0x4000').statements, [
      { kind: 'setMark', value: 0x4000, mask: 0x4000 },
    ]);
    t.match(rule(kube, '! --mark').matches, [{ fields: ['mark'], not: true, mask: 0x4000, value: 0x4000 }]);
    t.match(rule(kube, '--ctstate RELATED,ESTABLISHED,DNAT').matches.at(-1), {
      ...{ fields: ['ctState'], not: true },
      values: [{ text: 'related' }, { text: 'established' }, { text: 'dnat' }],
    });
    t.match(rule(kube, 'REJECT').statements, [
      { verdict: { kind: 'reject', with: 'icmp-port-unreachable' } },
    ]);
  });

  await t.test('kube-proxy, by nftables', async (t) => {
    const kube = await load(t, host, 'kube-proxy.nft');
    t.strictSame(owners(kube), ['kube-proxy']);
    t.strictSame(unknowns(kube), []);
    const ports = kube.tables[0]?.sets.get('service-nodeports');
    t.match(ports, {
      kind: 'vmap',
      type: 'inet_proto . inet_service : verdict',
      comment: 'NodePort traffic',
      elements: [
        {
          key: { parts: [{ text: 'tcp' }, { from: 30080, to: 30080 }] },
          verdict: { kind: 'goto', chain: 'external-AAAAAAAA-default/web/tcp/http' },
          comment: 'default/web:http',
        },
      ],
    });
    t.match(rule(kube, 'numgen random').statements[0], { kind: 'vmap', fields: [], elements: { length: 2 } });
    t.equal(kube.tables[0]?.comment, 'rules for kube-proxy');
  });

  await t.test('the reference plugins, by nftables', async (t) => {
    const cni = await load(t, host, 'cni.nft');
    t.strictSame(owners(cni), ['cni']);
    t.strictSame(unknowns(cni), []);
    const attachment = { who: 'cni', network: 'refnet', containerId: 'ref1', ifname: 'eth0' };
    t.strictSame(rule(cni, 'ip saddr 10.22.0.5 ip daddr !=').owner, attachment);
    t.strictSame(rule(cni, 'tcp dport 8082').owner, { who: 'cni', plugin: 'portmap', containerId: 'ref1' });
  });

  await t.test('firewalld', async (t) => {
    const firewalld = await load(t, host, 'firewalld.nft');
    t.strictSame(owners(firewalld), ['firewalld']);
    t.strictSame(unknowns(firewalld), []);
    t.match(rule(firewalld, 'fib saddr').matches.at(-1), { fields: ['sourceLink'], values: [{ text: '0' }] });
  });

  await t.test('libvirt, ufw, flannel, Podman and the reference firewall plugin', async (t) => {
    const libvirt = await load(t, host, 'libvirt.iptables');
    t.strictSame([owners(libvirt), unknowns(libvirt)], [['libvirt'], []]);
    t.match(rule(libvirt, '--to-ports').statements, [{ kind: 'masquerade', port: '1024-65535' }]);
    const ufw = await load(t, host, 'ufw.iptables');
    t.strictSame(owners(ufw), ['ufw']);
    t.ok(
      unknowns(ufw).every((words) => /^-m (limit|recent) /.test(words)),
      'limits are for the packet to tell',
    );
    const mixed = await load(t, host, 'flannel.iptables');
    t.strictSame(owners(mixed), ['cni', 'flannel', 'netavark']);
    t.match(rule(mixed, '--to-destination').owner, {
      who: 'netavark',
      network: 'podman',
      containerId: 'feedface',
    });
  });

  await t.test('Calico, with ipsets', async (t) => {
    const calico = await load(t, host, 'calico.iptables');
    t.strictSame([owners(calico), unknowns(calico)], [['calico'], []]);
    t.match(rule(calico, 'masq-ipam-pools').matches, [
      { fields: ['saddr'], not: false, set: 'cali40masq-ipam-pools' },
      { fields: ['daddr'], not: true, set: 'cali40all-ipam-pools' },
    ]);
    t.match(rule(calico, 'cali40s:web').matches.at(-1), { fields: ['daddr', 'protocol', 'dport'] });
    const filter = calico.tables.find(({ name }) => name === 'filter');
    t.match(filter?.sets.get('cali40s:web')?.elements[0], {
      key: { parts: [{ prefix: '10.200.0.9' }, { text: 'tcp' }, { from: 8080, to: 8080 }] },
      owner: { who: 'calico' },
    });
    t.match(rule(calico, '-i cali+').matches[0], { fields: ['iifname'], values: [{ text: 'cali*' }] });
  });

  await t.test('ours, as all our plugins make them', async (t) => {
    const { netns } = await host.container();
    const [c1, c2] = [attachment('c1'), attachment('c2')];
    const commands = [
      ...renderMasquerade({ ...c1, sources: ['10.1.0.5', 'fd00::5'], except: ['10.1.0.0/16'] }),
      ...renderPorts({ ...c1, links: ['cni0'], subnets: [], sourceNat: 'needed', ports: [port] }),
      ...renderNftables({
        ...c1,
        addresses: [{ family: 4, address: '10.1.0.5' }],
        adminChain: 'x',
        policy: 'isolated',
        link: 'cni0',
        required: 'rules',
      }),
      ...renderFilter({ ...c1, port: 'veth1', mac: '02:00:00:00:00:01' }),
      `nft 'add rule inet weft-forward admin ip saddr 192.0.2.1 drop'`,
      'iptables-nft -t nat -N WEFT-PORTS',
      'iptables-nft -t nat -N WEFT-podnet',
      `iptables-nft -t nat -A WEFT-PORTS -p tcp --dport 81 -m comment --comment '${publicationMark(c2)}' -j DNAT --to-destination 10.1.0.6:80`,
      `iptables-nft -t nat -A WEFT-podnet -s 10.1.0.6 -m comment --comment '${ownerMark(c2)}' -j MASQUERADE`,
    ];
    await execIn(netns, 'sh', ['-e', '-c', commands.join('\n')]);
    const ruleset = await read(netns);
    const others = rulesOf(ruleset).filter(({ owner }) => owner.who !== 'weft');
    t.strictSame(
      others.map(({ text }) => text),
      ['ip saddr 192.0.2.1 drop'],
      "all but the administrator's",
    );
    const elements = ruleset.tables.flatMap(({ sets }) =>
      [...sets.values()].flatMap((set) => set.elements.map((element) => ({ set: set.name, ...element }))),
    );
    const owned = elements.filter(
      ({ owner }) => owner.containerId === 'c1' && owner.ifname === 'eth0' && owner.network === 'podnet',
    );
    const ownedSets = [...new Set(owned.map(({ set }) => set))].sort();
    t.strictSame(ownedSets, [
      'allowed',
      'apart4',
      'guarded',
      'let4',
      'masquerade4',
      'masquerade6',
      'near4',
      'own4',
      'ports4',
    ]);
    t.strictSame(rule(ruleset, '--dport 81').owner, { who: 'weft', plugin: 'portmap', ...c2 });
    t.strictSame(rule(ruleset, '-s 10.1.0.6/32').owner, { who: 'weft', ...c2 });
  });

  await t.test('without nft', async (t) => {
    const { netns } = await host.container();
    await execIn(netns, 'iptables-nft-restore', [join(FOLDER, 'docker.iptables')]);
    const namespace = await openDoor().open(netns);
    t.teardown(() => namespace.close());
    const ambient = realAmbient({ PATH: process.env.PATH });
    const run: typeof ambient.run = async (file, args, options) =>
      args.includes('nft') ? { status: 127, stdout: '', stderr: 'no nft' } : ambient.run(file, args, options);
    const ruleset = await readRuleset(namespace, { env: ambient.env, run });
    t.strictSame(ruleset.unread, ['tables of nf_tables: nft failed: no nft']);
    t.match(rule(ruleset, '--to-destination').statements, [{ kind: 'dnat', address: '172.17.0.2' }]);
    t.strictSame([...new Set(ruleset.tables.map(({ variant }) => variant))], ['iptables-nft']);
  });

  await t.test('what cannot be read is said', async (t) => {
    const { netns } = await host.container();
    await execIn(netns, 'nft', ['add', 'table', 'inet', 'some']);
    const namespace = await openDoor().open(netns);
    t.teardown(() => namespace.close());
    const ambient = realAmbient({ PATH: process.env.PATH });
    const run: typeof ambient.run = async () => ({
      status: 1,
      stdout: '',
      stderr: 'Operation not permitted',
    });
    const { unread, tables } = await readRuleset(namespace, { env: ambient.env, run });
    t.strictSame(tables, []);
    t.match(unread[0], /^tables of nf_tables: nft failed: Operation not permitted/);
  });
});
