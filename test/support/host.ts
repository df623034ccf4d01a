/**
 * A simulated host for tests: a network namespace, a mount namespace and a PID namespace of its own, containers
 * (network namespaces) beside it, and a host outside that knows no way back to the containers but NAT.
 * Everything goes at the end of the test that made it, also when that test fails.
 */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { execa } from 'execa';

/** The part of a tap test that a fixture needs. */
export interface Teardown {
  teardown(fn: () => Promise<void> | void): void;
}

export interface ExecOptions {
  env?: Readonly<Record<string, string>>;
  input?: string;
  /** Milliseconds, 30 seconds if not given: nothing in these tests may hang. */
  timeout?: number;
  /** Answer with a status other than 0 instead of throwing. */
  mayFail?: boolean;
}

export interface ExecResult {
  status: number;
  stdout: string;
  stderr: string;
}

/** One simulated container: only its network namespace. */
export interface Container {
  /** Usable as container id. */
  readonly id: string;
  /** Path of its network namespace, as a runtime gives it in CNI_NETNS. */
  readonly netns: string;
}

export interface Host {
  readonly netns: string;
  /** Temporary folder; `dirs` are below. */
  readonly root: string;
  readonly dirs: { data: string; cache: string; run: string; conf: string; bin: string };
  /** Environment that points weft at `dirs`, with a plain PATH. */
  readonly env: Readonly<Record<string, string>>;
  /**
   * Runs a program on this host: in its network, mount and PID namespaces, where /var/lib/cni, /etc/cni/net.d,
   * /run/weft and /opt/cni/bin are this host's `dirs`. Throws with the program's stderr when it fails.
   */
  exec(file: string, args: readonly string[], options?: ExecOptions): Promise<ExecResult>;
  /** Starts a daemon on this host; its output goes to `<root>/<name>.log`. It ends with the host. */
  daemon(
    name: string,
    file: string,
    args: readonly string[],
    env?: Readonly<Record<string, string>>,
  ): Promise<void>;
  container(): Promise<Container>;
}

const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** Where the outside host is; documentation prefixes, so that nothing else can be meant. */
export const OUTSIDE = { v4: '198.51.100.2', v6: '2001:db8:ff::2' } as const;
const UPLINK = { v4: '198.51.100.1', v6: '2001:db8:ff::1', name: 'uplink' } as const;

/** Runs a program; throws with its stderr in the message when it fails. */
export async function exec(
  file: string,
  args: readonly string[],
  options: ExecOptions = {},
): Promise<ExecResult> {
  const result = await execa(file, args, {
    env: { PATH, ...options.env },
    extendEnv: false,
    ...(options.input === undefined ? { stdin: 'ignore' } : { input: options.input }),
    timeout: options.timeout ?? 30_000,
    killSignal: 'SIGKILL',
    reject: false,
  });
  if (result.failed && (result.exitCode === undefined || !options.mayFail)) throw result;
  return { status: result.exitCode ?? -1, stdout: result.stdout ?? '', stderr: result.stderr ?? '' };
}

/** Runs a program inside a network namespace, given by path. /sys stays that of the machine. */
export function execIn(netns: string, file: string, args: readonly string[], options?: ExecOptions) {
  return exec('nsenter', [`--net=${netns}`, '--', file, ...args], options);
}

/** What `ip -j` says inside a namespace: always a list of objects, empty when it prints nothing. */
// biome-ignore lint/suspicious/noExplicitAny: the output of another program, whose shape the assertion is about
export async function ip(netns: string, ...args: string[]): Promise<any[]> {
  const { stdout } = await execIn(netns, 'ip', ['-j', ...args]);
  return stdout.trim() === '' ? [] : JSON.parse(stdout);
}

/** Names of the links inside a namespace, sorted. */
export async function links(netns: string): Promise<string[]> {
  return (await ip(netns, 'link')).map((link) => String(link.ifname)).sort();
}

/** `nft list ruleset` inside a namespace. */
export async function nft(netns: string): Promise<string> {
  return (await execIn(netns, 'nft', ['list', 'ruleset'])).stdout;
}

/** Whether an address (either family) answers a ping within 3 seconds; the first answer ends it. */
export async function ping(netns: string, address: string): Promise<boolean> {
  const args = ['-n', '-q', '-c', '1', '-i', '0.2', '-w', '3', address];
  return (await execIn(netns, 'ping', args, { mayFail: true })).status === 0;
}

/** Every line of nftables, iptables and ipset state inside a namespace that contains one of the words. */
export async function firewallLines(netns: string, ...words: string[]): Promise<string[]> {
  const states = await Promise.all([
    execIn(netns, 'nft', ['list', 'ruleset'], { mayFail: true }),
    execIn(netns, 'iptables-legacy-save', [], { mayFail: true }),
    execIn(netns, 'ip6tables-legacy-save', [], { mayFail: true }),
    execIn(netns, 'ipset', ['save'], { mayFail: true }),
  ]);
  const lines = states.flatMap((state) => state.stdout.split('\n')).map((line) => line.trim());
  // An address must not be found in a longer one: 10.1.0.2 in 10.1.0.20.
  const patterns = words.map((word) => new RegExp(`(?<![\\w.:])${word.replaceAll('.', '\\.')}(?![\\w.:])`));
  return lines.filter((line) => patterns.some((pattern) => pattern.test(line)));
}

/** The addresses that are leased on a host, `network/address`, sorted: the files of host-local's store. */
export async function leases(host: Host): Promise<string[]> {
  const found: string[] = [];
  for (const network of await readdir(host.dirs.data)) {
    for (const file of await readdir(join(host.dirs.data, network)).catch(() => [])) {
      if (/^[0-9a-f.:]+$/.test(file) && /[.:]/.test(file)) found.push(`${network}/${file}`);
    }
  }
  return found.sort();
}

/** The results that are cached on a host (libcni's cache), sorted. */
export async function cachedResults(host: Host): Promise<string[]> {
  return (await readdir(join(host.dirs.cache, 'results')).catch(() => [])).sort();
}

async function netnsAdd(t: Teardown, name: string): Promise<string> {
  await exec('ip', ['netns', 'add', name]);
  t.teardown(async () => {
    await exec('ip', ['netns', 'del', name]);
  });
  await exec('ip', ['-n', name, 'link', 'set', 'lo', 'up']);
  return `/run/netns/${name}`;
}

/** Gives `t` a host. Its own processes end first at teardown, then its namespaces and its files go. */
export async function makeHost(t: Teardown): Promise<Host> {
  // Teardowns run in reverse: the folder goes last.
  const root = await mkdtemp(join(tmpdir(), 'weft-t-'));
  t.teardown(() => rm(root, { recursive: true, force: true, maxRetries: 5 }));
  const name = `weft-t-${randomBytes(4).toString('hex')}`;
  const dirs = {
    data: join(root, 'cni', 'networks'),
    cache: join(root, 'cni'),
    run: join(root, 'run'),
    conf: join(root, 'conf'),
    bin: join(root, 'bin'),
  };
  for (const dir of Object.values(dirs)) await mkdir(dir, { recursive: true, mode: 0o755 });
  const netns = await netnsAdd(t, name);
  const pid = await startInit(t, netns, dirs);
  const enter = ['-t', String(pid), '-m', '-n', '-p', '--'];
  const env = {
    PATH,
    WEFT_DATA_DIR: dirs.data,
    WEFT_RUN_DIR: dirs.run,
    WEFT_CACHE_DIR: dirs.cache,
    WEFT_CONF_DIR: dirs.conf,
  };
  let containers = 0;
  return {
    netns,
    root,
    dirs,
    env,
    exec: (file, args, options = {}) =>
      exec('nsenter', [...enter, file, ...args], { ...options, env: { ...env, ...options.env } }),
    daemon: async (daemon, file, args, extra = {}) => {
      const log = join(root, `${daemon}.log`);
      const script = 'log=$1; shift; "$@" >"$log" 2>&1 </dev/null &';
      await exec('nsenter', [...enter, 'setsid', 'sh', '-c', script, 'sh', log, file, ...args], {
        env: { ...env, ...extra },
      });
    },
    container: async () => {
      containers += 1;
      const id = `${name}-c${containers}`;
      return { id, netns: await netnsAdd(t, id) };
    },
  };
}

/**
 * Starts the first process of a host's PID namespace and returns its PID as the machine sees it. When it ends, the kernel
 * ends everything that was started on this host, daemons and their containers included.
 * It is a shell that does nothing but reap what is orphaned.
 */
async function startInit(t: Teardown, netns: string, dirs: Host['dirs']): Promise<number> {
  const script = `
    read -r pid rest </proc/self/stat || exit
    mount -t proc proc /proc &&
    mount --bind "$1" /var/lib/cni && mount --bind "$2" /run/weft &&
    mount --bind "$3" /etc/cni/net.d && mount --bind "$4" /opt/cni/bin || exit
    echo "$pid"
    sleep infinity & while :; do wait; done`;
  // Mount points must exist; folders that runtimes make themselves when they start.
  for (const dir of ['/var/lib/cni', '/run/weft', '/etc/cni/net.d', '/opt/cni/bin']) {
    await mkdir(dir, { recursive: true });
  }
  // `slave`: namespaces that `ip netns add` makes later are seen here, mounts made here are not seen outside.
  const child = spawn(
    'setpriv',
    // biome-ignore format: one option with its value per line says more
    [
      '--pdeathsig', 'KILL',
      'nsenter', `--net=${netns}`,
      'unshare', '--mount', '--propagation', 'slave', '--pid', '--fork', '--kill-child=KILL',
      'bash', '-c', script, 'init', dirs.cache, dirs.run, dirs.conf, dirs.bin,
    ],
    { stdio: ['ignore', 'pipe', 'inherit'], env: { PATH } },
  );
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  t.teardown(async () => {
    child.ref();
    child.kill('SIGKILL');
    await ended;
  });
  const pid = await firstLine(child.stdout);
  // A test ends when nothing is left to wait for; the host must not count.
  child.stdout.destroy();
  child.unref();
  return Number(pid);
}

async function firstLine(stream: Readable): Promise<string> {
  for await (const line of createInterface({ input: stream })) return line;
  throw new Error('the host ended before it began: see stderr');
}

/** Wires a host to an outside host, its default gateway, and returns the outside's namespace. */
export async function makeOutside(t: Teardown, host: Host): Promise<string> {
  const netns = await netnsAdd(t, `weft-t-${randomBytes(4).toString('hex')}`);
  const batch = async (where: string, ...lines: string[]) => {
    await execIn(where, 'ip', ['-batch', '-'], { input: `${lines.join('\n')}\n` });
  };
  const peer = netns.slice('/run/netns/'.length);
  await batch(
    host.netns,
    `link add ${UPLINK.name} type veth peer name uplink netns ${peer}`,
    `addr add ${UPLINK.v4}/24 dev ${UPLINK.name}`,
    `addr add ${UPLINK.v6}/64 dev ${UPLINK.name} nodad`,
    `link set ${UPLINK.name} up`,
  );
  await batch(
    netns,
    `addr add ${OUTSIDE.v4}/24 dev uplink`,
    `addr add ${OUTSIDE.v6}/64 dev uplink nodad`,
    'link set uplink up',
  );
  await batch(
    host.netns,
    `route add default via ${OUTSIDE.v4} dev ${UPLINK.name}`,
    `route add default via ${OUTSIDE.v6} dev ${UPLINK.name}`,
  );
  return netns;
}
