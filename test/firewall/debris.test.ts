/** What the reference plugins leave on a host goes, and nothing else; a host without it pays no process. */
import { mkdir, mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import {
  referenceChains,
  referenceComment,
  removalLines,
  removeReferenceDebris,
} from '../../firewall/debris.ts';
import { openDoor } from '../../netlink/namespace.ts';
import { realAmbient } from '../../runtime/ambient.ts';
import { execIn, type Host, makeHost, type Teardown } from '../support/host.ts';
import { REFERENCE } from '../support/plugins.ts';

const NETWORK = 'refnet';
const PATH = '/usr/sbin:/usr/bin:/sbin:/bin';

interface Debris {
  host: Host;
  remove(containerId: string, ifname?: string): Promise<string[]>;
  sh(script: string): Promise<string>;
  /** ADD by the reference's bridge and portmap; returns the container's id. */
  refer(path?: string): Promise<string>;
}

async function debrisOn(t: Teardown, env: Record<string, string> = {}): Promise<Debris> {
  const host = await makeHost(t);
  const door = await openDoor().open(host.netns);
  t.teardown(() => door.close());
  const ambient = realAmbient({ ...host.env, ...env });
  const sh = async (script: string) => (await execIn(host.netns, 'sh', ['-ec', script])).stdout;
  return {
    host,
    sh,
    remove: (containerId, ifname = 'eth0') =>
      removeReferenceDebris(door, ambient, { network: NETWORK, containerId, ifname }),
    refer: async (path = PATH) => {
      const { id, netns } = await host.container();
      const plugin = async (name: string, config: object): Promise<object> => {
        const { stdout } = await execIn(host.netns, join(REFERENCE, name), [], {
          input: JSON.stringify({ cniVersion: '1.0.0', name: NETWORK, type: name, ...config }),
          env: {
            CNI_COMMAND: 'ADD',
            CNI_CONTAINERID: id,
            CNI_IFNAME: 'eth0',
            CNI_NETNS: netns,
            CNI_PATH: REFERENCE,
            PATH: path,
          },
        });
        return JSON.parse(stdout);
      };
      const ranges = [[{ subnet: '10.77.0.0/24' }], [{ subnet: 'fd77::/64' }]];
      const prevResult = await plugin('bridge', {
        bridge: 'cni9',
        isGateway: true,
        ipMasq: true,
        ipam: { type: 'host-local', dataDir: host.dirs.data, ranges },
      });
      const portMappings = [{ hostPort: 8080 + Number(id.at(-1)), containerPort: 80, protocol: 'tcp' }];
      await plugin('portmap', { runtimeConfig: { portMappings }, prevResult });
      return id;
    },
  };
}

const NAT = 'iptables-save -t nat; ip6tables-save -t nat';
const LEGACY_NAT = 'iptables-legacy-save -t nat; ip6tables-legacy-save -t nat';

function rules(saved: string): string {
  return saved.replaceAll(/^#.*$/gm, '').replaceAll(/\[\d+:\d+\]/g, '');
}

t.test('the names that the reference gives', async (t) => {
  t.strictSame(await referenceChains('refnet', 'cid-1'), [
    'CNI-3e29701f37b76a52cca42209',
    'CNI-DN-3e29701f37b76a52cca42',
  ]);
  t.match(
    await referenceComment({ network: 'n', containerId: 'c', ifname: 'e' }),
    /^[0-9a-f]{16}-[0-9a-f]{16}$/,
  );
});

t.test('lines of removal: every rule that leads to the chain, then the chain', async (t) => {
  const saved = [
    '*nat',
    ':POSTROUTING ACCEPT [0:0]',
    ':CNI-a - [0:0]',
    ':CNI-ab - [0:0]',
    '-A POSTROUTING -s 10.0.0.2/32 -m comment --comment "name: \\"n\\" id: \\"x -j CNI-ab\\"" -j CNI-a',
    '-A POSTROUTING -s 10.0.0.3/32 -j CNI-ab',
    '-A CNI-a -d 10.0.0.0/24 -j ACCEPT',
    'COMMIT',
  ].join('\n');
  t.strictSame(removalLines(saved, ['CNI-a', 'CNI-none']), [
    '-D POSTROUTING -s 10.0.0.2/32 -m comment --comment "name: \\"n\\" id: \\"x -j CNI-ab\\"" -j CNI-a',
    '-F CNI-a',
    '-X CNI-a',
  ]);
  t.strictSame(removalLines(saved, ['CNI-none']), []);
});

t.test('iptables on nf_tables: one container goes, another and its like stay', async (t) => {
  const { refer, remove, sh } = await debrisOn(t);
  const stays = await refer();
  const before = rules(await sh(NAT));
  const goes = await refer();
  t.not(rules(await sh(NAT)), before);
  const removed = await remove(goes);
  t.equal(removed.length, 4, removed.join('\n'));
  t.match(removed[0], /^iptables chain CNI-[0-9a-f]{24} of the reference plugins$/);
  t.equal(rules(await sh(NAT)), before);
  t.strictSame(await remove(goes), [], 'nothing is left to remove');
  await remove(stays);
  t.notMatch(await sh(NAT), /CNI-(DN-)?[0-9a-f]{8}/);
});

t.test('legacy iptables', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'weft-t-'));
  t.teardown(() => rm(folder, { recursive: true }));
  await mkdir(folder, { recursive: true });
  for (const name of ['iptables', 'ip6tables', 'iptables-save', 'ip6tables-save', 'iptables-restore']) {
    await symlink(`/usr/sbin/${name.replace('tables', 'tables-legacy')}`, join(folder, name));
  }
  const { refer, remove, sh } = await debrisOn(t);
  const id = await refer(`${folder}:${PATH}`);
  t.match(await sh(LEGACY_NAT), id);
  t.equal((await remove(id)).length, 4);
  t.notMatch(await sh(LEGACY_NAT), id);
  t.notMatch(await sh(LEGACY_NAT), /CNI-(DN-)?[0-9a-f]{8}/);
});

t.test("the reference's nftables masquerade", async (t) => {
  const { remove, sh } = await debrisOn(t);
  const comment = async (containerId: string, ifname: string) =>
    `${await referenceComment({ network: NETWORK, containerId, ifname })}, net: ${NETWORK}, if: ${ifname}, id: ${containerId}`;
  // As version 1.9.1 writes it; Debian's is older and has only iptables.
  const rule = async (containerId: string, ifname: string, address: string) =>
    `add rule inet cni_plugins_masquerade masq_checks ip saddr == ${address} ip daddr != 10.77.0.0/24 masquerade comment "${await comment(containerId, ifname)}"`;
  await sh(`nft '
    add table inet cni_plugins_masquerade
    add chain inet cni_plugins_masquerade masq_checks
    ${await rule('c1', 'eth0', '10.77.0.2')}
    ${await rule('c1', 'eth1', '10.77.0.3')}
    ${await rule('c2', 'eth0', '10.77.0.4')}'`);
  const removed = await remove('c1');
  t.match(removed, [/id: c1$/]);
  t.equal(removed.length, 1);
  const left = await sh('nft list ruleset');
  t.notMatch(left, '10.77.0.2');
  t.match(left, '10.77.0.3');
  t.match(left, '10.77.0.4');
});

t.test('a host that has nothing of it: nothing is changed, and no program is run', async (t) => {
  const host = await makeHost(t);
  const door = await openDoor().open(host.netns);
  t.teardown(() => door.close());
  const ambient = {
    ...realAmbient(host.env),
    get env(): never {
      throw new Error('a program was looked up');
    },
  };
  const of = { network: NETWORK, containerId: 'c1', ifname: 'eth0' };
  t.strictSame(await removeReferenceDebris(door, ambient, of), []);
  await execIn(host.netns, 'iptables', ['-t', 'nat', '-A', 'POSTROUTING', '-j', 'ACCEPT']);
  t.strictSame(await removeReferenceDebris(door, ambient, of), []);
});
