/**
 * What every masquerade backend must do: what packets see, and what `nft`, `iptables-save` and `ipset` print.
 * A file per backend runs it, so that they run beside each other.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Test } from 'tap';
import type { Ambient } from '../../cni/ambient.ts';
import type { FirewallBackend, Membership } from '../../firewall/firewall.ts';
import type { Namespace, Op } from '../../netlink/door.ts';
import { openDoor } from '../../netlink/namespace.ts';
import { realAmbient } from '../../runtime/ambient.ts';
import { execIn, type Host, makeHost, OUTSIDE, type Teardown } from '../support/host.ts';
import { until } from '../support/until.ts';
import { HOST, hearMulticast, makeWorld, NETWORK, ONE, TWO } from './world.ts';

export interface Setup {
  /** A folder whose programs go before the system's: another iptables. */
  programs?: string;
  make(host: Namespace, ambient: Ambient): FirewallBackend;
  /** Takes the rules away as others do. */
  flushes: readonly string[];
  /** A steady ADD starts no program, and adds no rule. */
  native: boolean;
  /** The rendered lines make exactly what an ADD makes. */
  typed: boolean;
  /** How test/firewall/adder.ts calls it. */
  process: string;
  /** Rules of a network with nine IPv4 prefixes (multicast is one), two IPv6 prefixes and eight members of both families. */
  crowd: number;
}

interface Subject {
  backend: FirewallBackend;
  /** What it cost since the last time it was asked; programs are started under the lock only. */
  cost(): { calls: number; locks: number };
  /** Every rule and set element, for comparison. */
  state(): Promise<string>;
  /** How many rules there are, elements not counted. */
  rules(): Promise<number>;
  sh(script: string): Promise<string>;
}

function environment(host: Host, { programs }: Setup): Record<string, string> {
  return programs === undefined ? host.env : { ...host.env, PATH: `${programs}:${host.env.PATH}` };
}

async function subjectOn(t: Teardown, host: Host, setup: Setup): Promise<Subject> {
  const door = await openDoor().open(host.netns);
  t.teardown(() => door.close());
  const cost = { calls: 0, locks: 0 };
  const counted = new Proxy(door, {
    get: (_, key) => {
      if (key === 'send') {
        return (...ops: Op[]) => {
          cost.calls += 1;
          return door.send(...ops);
        };
      }
      const value = door[key as keyof Namespace];
      return typeof value === 'function' ? value.bind(door) : value;
    },
  });
  const env = environment(host, setup);
  const real = realAmbient(env);
  const lock = (path: string) => {
    cost.locks += 1;
    return real.lock(path);
  };
  const sh = async (script: string) => (await execIn(host.netns, 'sh', ['-ec', script], { env })).stdout;
  return {
    backend: setup.make(counted, { ...real, lock }),
    cost: () => {
      const { calls, locks } = cost;
      Object.assign(cost, { calls: 0, locks: 0 });
      return { calls, locks };
    },
    // Entries of a set come in the order of a random hash.
    state: () =>
      sh('nft -s list ruleset; iptables-save -t nat; ip6tables-save -t nat; ipset save | sort').then(stable),
    rules: async () => {
      const { nftables } = JSON.parse(await sh('nft -j list ruleset'));
      const saved = setup.programs ? await sh('iptables-save; ip6tables-save') : '';
      const legacy = saved.split('\n').filter((line) => line.startsWith('-A'));
      return nftables.filter((entry: object) => 'rule' in entry).length + legacy.length;
    },
    sh,
  };
}

/** Without what differs between two hosts that have the same: dates, counters, seeds of hashes. */
function stable(text: string): string {
  return text
    .split('\n')
    .filter((line) => !line.startsWith('#'))
    .map((line) => line.replace(/ (initval|bucketsize) \S+/g, '').replace(/\[\d+:\d+\]$/, ''))
    .join('\n');
}

function member(change: Partial<Membership> = {}): Membership {
  return {
    network: 'net1',
    containerId: 'one',
    ifname: 'eth0',
    sources: [ONE.v4, ONE.v6],
    except: [NETWORK.v4, NETWORK.v6],
    ...change,
  };
}

function numbered(i: number): Membership {
  const sources = [`10.66.${100 + (i >> 8)}.${i & 255}`, `fd66:0:9::${(i + 1).toString(16)}`];
  return member({ containerId: `c${i}`, sources });
}

const id = (containerId: string, ifname = 'eth0') => ({ containerId, ifname });

/** A rule of somebody else in every place where one could be harmed. */
const FOREIGN = `
  nft 'add table inet theirs
  add chain inet theirs post { type nat hook postrouting priority srcnat; }
  add rule inet theirs post ip saddr 192.0.2.1 counter comment "theirs"'
  iptables -t nat -A POSTROUTING -s 192.0.2.2 -m comment --comment "theirs" -j ACCEPT
  iptables -t nat -N THEIRS
  iptables -t nat -A THEIRS -s 192.0.2.3 -j RETURN
  ip6tables -t nat -A POSTROUTING -s 2001:db8::2 -j ACCEPT
  ipset create theirs hash:ip comment
  ipset add theirs 192.0.2.4 comment theirs`;

async function foreign({ sh }: Subject): Promise<string> {
  const saved = 'iptables-save -c -t nat; ip6tables-save -c -t nat; ipset save theirs';
  const lines = stable(await sh(`nft list table inet theirs; ${saved}`)).split('\n');
  return lines.filter((line) => !/weft/i.test(line)).join('\n');
}

/** Every test of the suite, on one backend. */
export function masqueradeSuite(t: Test, setup: Setup): void {
  t.test(
    'packets: the outside sees the host, the inside and multicast groups see the container',
    async (t) => {
      const world = await makeWorld(t);
      const { backend, sh } = await subjectOn(t, world.host, setup);
      t.ok(await world.isUnheard(world.one, OUTSIDE.v4), 'no way back without masquerade');
      await backend.addMasquerade(member());
      t.equal(await world.seenBy(world.one, OUTSIDE.v4), HOST.v4);
      t.equal(await world.seenBy(world.one, OUTSIDE.v6), HOST.v6);
      t.equal(await world.seenBy(world.one, TWO.v4), ONE.v4);
      t.equal(await world.seenBy(world.one, TWO.v6), ONE.v6);
      t.ok(await world.isUnheard(world.two, OUTSIDE.v4), 'the other container is no member');
      // Multicast comes from addresses of the host itself, because nothing routes it here.
      const sources = ['10.66.9.9', 'fd66:0:9::9'];
      await sh('ip addr add 10.66.9.9/32 dev lo; ip addr add fd66:0:9::9/128 dev lo nodad');
      await backend.addMasquerade(member({ containerId: 'three', sources }));
      t.strictSame(await hearMulticast(world), sources, 'multicast keeps its source');
      await backend.removeMasquerade(member());
      await sh('conntrack -F 2>&1');
      t.ok(await world.isUnheard(world.one, OUTSIDE.v4));
      t.ok(await world.isUnheard(world.one, OUTSIDE.v6));
    },
  );

  t.test('who types the rendered lines gets the same', async (t) => {
    const [typed, added] = [
      await subjectOn(t, await makeHost(t), setup),
      await subjectOn(t, await makeHost(t), setup),
    ];
    await typed.sh(typed.backend.renderMasquerade(member()).join('\n'));
    t.strictSame(await typed.backend.verifyMasquerade(member()), []);
    await added.backend.addMasquerade(member());
    if (setup.typed) t.equal(await typed.state(), await added.state());
    const before = await typed.state();
    await typed.backend.addMasquerade(member());
    if (setup.typed) t.equal(await typed.state(), before, 'and an ADD changes nothing');
  });

  t.test('a member costs the same however many there are', async (t) => {
    const subject = await subjectOn(t, await makeHost(t), setup);
    const { backend, cost, rules } = subject;
    const count = setup.native ? 500 : 20;
    await backend.addMasquerade(numbered(0));
    const rulesOfOne = await rules();
    cost();
    await backend.addMasquerade(numbered(1));
    const second = cost();
    for (let i = 2; i < count - 1; i += 1) await backend.addMasquerade(numbered(i));
    cost();
    await backend.addMasquerade(numbered(count - 1));
    t.strictSame(cost(), second);
    t.equal(await rules(), setup.native ? rulesOfOne : rulesOfOne + 2 * (count - 1));
    if (setup.native) t.strictSame(second, { calls: 1, locks: 0 }, 'one native call, no program');
    t.strictSame(await backend.verifyMasquerade(numbered(count - 1)), []);
    await backend.removeMasquerade(numbered(count - 1));
    if (setup.native) t.strictSame(cost().locks, 0);
    const gone = await backend.collectMasquerade('net1', [id('c0')]);
    t.equal(gone.length, 2 * (count - 2));
    t.match(gone[0], /^masquerade of \S+ \(c\d+ eth0\) in network net1$/);
    t.strictSame(await backend.verifyMasquerade(numbered(0)), []);
    t.equal(await rules(), rulesOfOne);
  });

  for (const flush of setup.flushes) {
    t.test(`after "${flush}" by somebody`, async (t) => {
      const { backend, sh, state } = await subjectOn(t, await makeHost(t), setup);
      await backend.addMasquerade(member());
      const before = await state();
      await sh(flush);
      // The kernel of nf_tables gives the sets that a rule used free a moment later.
      await until(
        'the rule lets go of its sets',
        async () => !/References: [1-9]/.test(await sh('ipset list -t')),
      );
      const missing = await backend.verifyMasquerade(member());
      t.ok(missing.length > 0, 'CHECK sees it');
      t.ok(
        missing.every((line) => /^(rule|element|entry) .*net1|^(rule|element|entry) .*weft/.test(line)),
        missing.join('\n'),
      );
      await backend.addMasquerade(member());
      t.strictSame(await backend.verifyMasquerade(member()), []);
      // A chain that was deleted is the last one now.
      t.strictSame((await state()).split('\n').sort(), before.split('\n').sort());
    });
  }

  t.test('rules of others stay as they are', async (t) => {
    const subject = await subjectOn(t, await makeHost(t), setup);
    const { backend, sh } = subject;
    await sh(FOREIGN);
    const before = await foreign(subject);
    t.match(before, 'theirs');
    await backend.addMasquerade(member());
    t.equal(await foreign(subject), before);
    await backend.addMasquerade(numbered(1));
    await backend.removeMasquerade(member());
    t.equal(await foreign(subject), before);
    await backend.collectMasquerade('net1', []);
    t.equal(await foreign(subject), before);
    t.notMatch(await subject.state(), /weft/i, 'and of ours nothing is left');
  });

  t.test('an address changes hands', async (t) => {
    const { backend, state } = await subjectOn(t, await makeHost(t), setup);
    await backend.addMasquerade(member({ containerId: 'old' }));
    await backend.addMasquerade(member({ containerId: 'new' }));
    t.strictSame(await backend.verifyMasquerade(member({ containerId: 'new' })), []);
    t.equal((await backend.verifyMasquerade(member({ containerId: 'old' }))).length, 2);
    const before = await state();
    await backend.removeMasquerade(member({ containerId: 'old' }));
    await backend.removeMasquerade(member({ containerId: 'old', sources: [] }));
    t.strictSame(await backend.collectMasquerade('net1', [id('new')]), []);
    t.equal(await state(), before, 'a late DEL and a collection leave it to its new owner');
  });

  t.test('DEL without addresses finds what carries the mark', async (t) => {
    const { backend, state } = await subjectOn(t, await makeHost(t), setup);
    await backend.addMasquerade(numbered(1));
    const before = await state();
    await backend.addMasquerade(member());
    await backend.addMasquerade(member({ ifname: 'eth1', sources: ['10.66.1.3'] }));
    await backend.removeMasquerade(member({ sources: [] }));
    t.strictSame(await backend.verifyMasquerade(member({ ifname: 'eth1', sources: ['10.66.1.3'] })), []);
    await backend.removeMasquerade(member({ ifname: 'eth1', sources: [] }));
    t.equal(await state(), before);
    await backend.removeMasquerade(member({ sources: [] }));
    t.equal(await state(), before, 'and once more');
  });

  t.test('networks do not meet, and long names work', async (t) => {
    const { backend, state } = await subjectOn(t, await makeHost(t), setup);
    const long = { network: 'n'.repeat(200), containerId: 'c'.repeat(200), sources: ['10.66.1.77'] };
    await backend.addMasquerade(member());
    const before = await state();
    await backend.addMasquerade(member(long));
    t.strictSame(await backend.verifyMasquerade(member(long)), []);
    t.strictSame(await backend.collectMasquerade(long.network, [{ ...id(long.containerId) }]), []);
    t.equal((await backend.collectMasquerade(long.network, [])).length, 1);
    t.equal(await state(), before);
  });

  t.test('exceptions add up', async (t) => {
    const { backend } = await subjectOn(t, await makeHost(t), setup);
    await backend.addMasquerade(member());
    await backend.addMasquerade({ ...numbered(1), except: ['10.77.0.0/16', '10.66.5.0/24'] });
    t.strictSame(await backend.verifyMasquerade(member()), []);
    t.strictSame(
      await backend.verifyMasquerade(member({ except: ['10.77.0.0/16', '10.66.5.0/24', NETWORK.v4] })),
      [],
    );
  });

  t.test('DEL and GC on a host that has nothing', async (t) => {
    const { backend, state } = await subjectOn(t, await makeHost(t), setup);
    const before = await state();
    await backend.removeMasquerade(member());
    await backend.removeMasquerade(member({ sources: [] }));
    t.strictSame(await backend.collectMasquerade('net1', []), []);
    t.equal(await state(), before);
    t.ok((await backend.verifyMasquerade(member())).length > 0);
    await backend.probe();
  });
  t.test('eight processes at once', async (t) => {
    const host = await makeHost(t);
    const { backend, rules, state } = await subjectOn(t, host, setup);
    const script = fileURLToPath(new URL('adder.ts', import.meta.url));
    const children = Array.from({ length: 8 }, (_, i) =>
      spawn(process.execPath, ['--import=tsx', script, setup.process, host.netns, String(i + 1)], {
        env: environment(host, setup),
        stdio: ['pipe', 'pipe', 'inherit'],
      }),
    );
    await Promise.all(children.map((child) => once(child.stdout, 'data')));
    const ends = children.map((child) => once(child, 'exit'));
    for (const child of children) child.stdin.end();
    t.strictSame(await Promise.all(ends), Array(8).fill([0, null]));
    for (let i = 1; i <= 8; i += 1) {
      const one = member({
        containerId: `c${i}`,
        sources: [`10.66.3.${i}`, `fd66:0:3::${i}`],
        except: [`10.${i}.0.0/16`, 'fd66::/32'],
      });
      t.strictSame(await backend.verifyMasquerade(one), []);
    }
    t.equal(await rules(), setup.crowd, await state());
  });
}
