/**
 * The real plugins under noise: a kernel that refuses whatever it is asked, hosts with odd leftovers, failures of every kind at any
 * point. Each call ends, with a result or with one error that says what it is: never 999, never a stack trace.
 * FUZZ_RUNS sets the number of calls per property.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { runPlugin } from '../../cni/skel.ts';
import type { Command } from '../../cni/types.ts';
import { writeMembership } from '../../ipam/cluster/membership.ts';
import { type Door, type Namespace, NetlinkError, type Op } from '../../netlink/door.ts';
import { openDoor } from '../../netlink/namespace.ts';
import { loadPlugin, type PluginName } from '../../plugins/registry.ts';
import { realAmbient } from '../../runtime/ambient.ts';
import { firewallLines, leases, links } from '../support/host.ts';
import { failingDoor } from './failing-door.ts';
import { args, command, config, maybe, plugin } from './odd-requests.ts';
import { BRIDGE, makeWorld } from './world.ts';
import '../support/seed.ts';

const RUNS = Number(process.env.FUZZ_RUNS ?? 300);
/** Milliseconds; a call that takes as long is one that hangs. */
const PATIENCE = 60_000;

const ERRNO = [
  ...['EPERM', 'ENOENT', 'EINTR', 'EIO', 'EAGAIN', 'ENOMEM', 'EACCES', 'EBUSY', 'EEXIST', 'ENODEV', 'EINVAL'],
  ...['ENFILE', 'EMFILE', 'ENOSPC', 'EROFS', 'ERANGE', 'EOPNOTSUPP', 'EAFNOSUPPORT', 'EPROTONOSUPPORT'],
  ...['EADDRNOTAVAIL', 'ENETDOWN', 'ENETUNREACH', 'ENOBUFS', 'EHOSTUNREACH', 'ENOTNS', 'ESRCH', 'EADDRINUSE'],
];

const coded = (code: string) => Object.assign(new Error(`injected ${code}`), { code });

/** `opens`: how many namespaces can be opened before that fails as well. */
function refusingDoor(opens: number, errno: () => string): Door {
  let opened = 0;
  const refuse = async () => Promise.reject(coded(errno()));
  return {
    async open(path) {
      if (opened++ >= opens) throw coded(errno());
      const send = async (...ops: Op[]) =>
        ops.map(({ what, tolerate = [] }, index) => {
          const error = new NetlinkError({ errno: errno(), what, index });
          if (!tolerate.includes(error.errno)) throw error;
          return { ok: false, error };
        });
      return {
        ...{ path, identity: `1:${opened}`, fd: opened, send: send as Namespace['send'] },
        ...{ readFile: refuse, writeFile: refuse, close() {} },
      };
    },
  };
}

const link = { index: 7, link: 8, kind: 'veth', mtu: 1500, mac: '02:00:00:00:00:01', up: true };

/** A host on which nothing is, and where everything that is asked for succeeds. */
const emptyHost: Door = {
  async open(path) {
    const send = async (...ops: Op[]) =>
      ops.map((op, index) => {
        const [errno] = op.tolerate ?? [];
        if (errno === undefined) return { ok: true, value: /^list /.test(op.what) ? [] : link };
        return { ok: false, error: new NetlinkError({ errno, what: op.what, index }) };
      });
    return {
      ...{ path, identity: `1:${path}`, fd: 3, send: send as Namespace['send'], close() {} },
      ...{ readFile: async () => '0', writeFile: async () => {} },
    };
  },
};

interface Call {
  plugin: PluginName;
  command: Command;
  config: object;
  door: Door;
  root: string;
  args?: string;
}

/** Runs a plugin; throws when it hangs, or when what it says is not what a runtime can use. */
async function call({ plugin, command, config, door, root, args = '' }: Call): Promise<void> {
  const log: string[] = [];
  const real = realAmbient({
    ...{ CNI_COMMAND: command, CNI_CONTAINERID: 'c1', CNI_IFNAME: 'eth0', CNI_NETNS: '/run/netns/none' },
    ...{ CNI_PATH: '/nonexistent', CNI_ARGS: args, PATH: '/nonexistent' },
    ...{ WEFT_DATA_DIR: join(root, 'data'), WEFT_RUN_DIR: join(root, 'run') },
    ...{ WEFT_CACHE_DIR: join(root, 'cache'), WEFT_CONF_DIR: join(root, 'conf') },
  });
  const input = JSON.stringify(config);
  const ambient = {
    ...real,
    input: async () => input,
    log: (line: string) => log.push(line),
    hostId: () => 'h',
  };
  const verbs = await loadPlugin(plugin, { door, hostNetns: '/run/netns/host' });
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${plugin} ${command} hangs: ${input}`)), PATIENCE);
  });
  const run = runPlugin(verbs, ambient, { look: () => ({ state: 'other' }) });
  const { status, stdout } = await Promise.race([run, late]).finally(() => clearTimeout(timer));
  const context = `${plugin} ${command} ${input}: ${stdout}`;
  if (status === 0) {
    if ((stdout !== '') !== (command === 'ADD')) throw new Error(`an answer that is none: ${context}`);
    return;
  }
  const { code, msg, details } = JSON.parse(stdout);
  if (!Number.isInteger(code) || typeof msg !== 'string' || msg === '')
    throw new Error(`no error: ${context}`);
  if (code === 999) throw new Error(`a mistake of ours: ${context}`);
  if (/\n\s+at /.test(`${msg}${details}${log.join('\n')}`)) throw new Error(`a stack trace: ${context}`);
}

function folder(t: { teardown(act: () => void): void }): string {
  const root = mkdtempSync(join(tmpdir(), 'weft-fuzz-'));
  t.teardown(() => rmSync(root, { recursive: true, force: true }));
  return root;
}

t.test('a kernel that refuses everything, in any way', async (t) => {
  const root = folder(t);
  // Half of the networks are joined.
  const held = { host: 'one', borrowed: [], mtu: 1450, subnets: ['10.1.0.0/24'], pools: ['10.1.0.0/16'] };
  writeMembership(join(root, 'cache'), { network: 'mynet', ...held });
  const noise = fc.record({
    ...{ plugin, command, config, args },
    opens: fc.constantFrom(0, 1, 2, 2, 2),
    errnos: fc.array(fc.constantFrom(...ERRNO), { minLength: 1, maxLength: 8 }),
  });
  await fc.assert(
    fc.asyncProperty(noise, async ({ plugin, command, config, args, opens, errnos }) => {
      let n = 0;
      const door = refusingDoor(opens, () => errnos[n++ % errnos.length] ?? 'EIO');
      await call({ plugin, command, config: { ...config, type: plugin }, door, root, args });
    }),
    { numRuns: RUNS * 10 },
  );
});

/** One thing that stands in a lease folder, or in the folder of its index, by any hand. */
const leftover = fc.record({
  name: fc.constantFrom(
    ...['10.1.0.2', '10.1.0.3', 'fd00:1::2', '10.1.0.254', '010.1.0.2', 'FD00:1::3', 'last_reserved_ip.0'],
    ...['last_reserved_ip.1', 'lock', '.weft-lease', 'README', 'last_reserved_ip.999'],
  ),
  kind: fc.constantFrom(
    ...(['ours', 'ours by id', 'others', 'empty', 'zeros', 'noise', 'long', 'folder'] as const),
    ...(['dangling', 'loop', 'pipe', 'device'] as const),
  ),
});
type Leftover = { name: string; kind: string };

const CONTENT: Readonly<Record<string, string | Buffer>> = {
  ours: 'c1\r\neth0',
  'ours by id': 'c1',
  others: 'c9\r\neth0\n\n',
  empty: '',
  zeros: Buffer.alloc(300),
  noise: Buffer.from([0xff, 0xfe, 0x0d, 0x0a, 0x80, 0x0a, 0x0d]),
  long: 'c1\r\n'.repeat(100_000),
};

function leave(dir: string, { name, kind }: Leftover): void {
  const file = join(dir, name);
  rmSync(file, { recursive: true, force: true });
  const content = CONTENT[kind];
  if (content !== undefined) writeFileSync(file, content);
  else if (kind === 'folder') mkdirSync(join(file, 'inside'), { recursive: true });
  else if (kind === 'dangling') symlinkSync('nowhere', file);
  else if (kind === 'loop') symlinkSync(name, file);
  else if (kind === 'device') symlinkSync('/dev/full', file);
  else execFileSync('mkfifo', [file]);
}

t.test('lease folders with odd leftovers', async () => {
  const world = fc.record({
    leftovers: fc.array(leftover, { maxLength: 6 }),
    index: maybe(fc.constantFrom('x', '{"10.1.0.2":1}', '[[1]]', '[null]')),
    calls: fc.array(
      fc.record({ plugin: fc.constantFrom<PluginName>('host-local', 'bridge', 'ptp'), command }),
      {
        minLength: 2,
        maxLength: 6,
      },
    ),
  });
  await fc.assert(
    fc.asyncProperty(world, async ({ leftovers, index, calls }) => {
      const root = mkdtempSync(join(tmpdir(), 'weft-fuzz-'));
      try {
        const dir = join(root, 'data', 'mynet');
        mkdirSync(dir, { recursive: true });
        for (const one of leftovers) leave(dir, one);
        for (const { plugin, command } of calls) {
          const config = {
            ...{ ...BRIDGE, type: plugin, isGateway: false },
            'cni.dev/valid-attachments': [{ containerID: 'c9', ifname: 'eth0' }],
            prevResult:
              command === 'CHECK' ? { cniVersion: '1.1.0', ips: [{ address: '10.1.0.2/24' }] } : undefined,
          };
          await call({ plugin, command, config, door: emptyHost, root });
          if (index !== undefined) spoil(join(root, 'run', 'leases'), index);
        }
      } finally {
        rmSync(root, { recursive: true, force: true });
      }
    }),
    { numRuns: RUNS },
  );
});

/** Writes the text over every file of the index but the stamp, which still says that it is right. */
function spoil(dir: string, text: string): void {
  let entries: string[] = [];
  try {
    entries = readdirSync(dir, { recursive: true }) as string[];
  } catch {
    return;
  }
  for (const name of entries.filter((each) => each.includes('/') && !each.endsWith('stamp'))) {
    writeFileSync(join(dir, name), text);
  }
}

t.test(
  'a real kernel that fails in any way at any point of ADD: an error that says so, and nothing is left',
  async (t) => {
    const world = await makeWorld(t);
    const container = await world.container();
    const good = fc.record({
      type: fc.constantFrom('bridge', 'bridge', 'ptp'),
      isGateway: fc.boolean(),
      ipMasq: fc.boolean(),
      ipMasqBackend: fc.constantFrom('nftables', 'iptables'),
      macspoofchk: fc.boolean(),
      hairpinMode: fc.boolean(),
      mtu: fc.constantFrom(0, 1400),
      enabledad: fc.constantFrom(false, false, false, true),
    });
    const property = fc.asyncProperty(
      good,
      fc.integer({ min: 1, max: 45 }),
      fc.constantFrom(...ERRNO),
      fc.constantFrom('refused' as const, 'half done' as const),
      async (options, n, errno, failure) => {
        const door = failingDoor(openDoor(), n, failure, errno);
        const config = { ...BRIDGE, ...options };
        const { status, json, log } = await world.call('ADD', config, { container, door });
        const context = `${errno} at ${n} (${door.asked[n - 1]}), ${failure}: ${JSON.stringify(json)} ${log}`;
        if (status === 0) await world.ok('DEL', config, { container });
        else if (json.code === 999 || /\n\s+at /.test(context)) throw new Error(context);
        const left = [
          ...(await world.hostLinks()).filter((name) => name !== 'br0'),
          ...(await links(container.netns)).filter((name) => name !== 'lo'),
          ...(await leases(world.host)),
          ...(await firewallLines(world.host.netns, container.id)),
        ];
        if (left.length > 0) throw new Error(`left ${left}: ${context}`);
      },
    );
    await fc.assert(property, { numRuns: Math.ceil(RUNS / 3) });
  },
);
