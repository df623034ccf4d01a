/**
 * A simulated host for tests: a network namespace, a mount namespace and a PID namespace of its own, containers
 * (network namespaces) beside it, and a host outside that knows no way back to the containers but NAT.
 * Everything goes at the end of the test that made it, also when that test fails.
 */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, readdir, rm, rmdir } from 'node:fs/promises';
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
  /** Milliseconds, 90 seconds if not given: nothing in these tests may hang, but the machine may be busy. */
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
  /** Its name in `ip netns`; unique, and what clients are told to name their cgroups by. */
  readonly name: string;
  readonly netns: string;
  /** Temporary folder; `dirs` are below. */
  readonly root: string;
  readonly dirs: { data: string; cache: string; run: string; conf: string; bin: string };
  /** Environment that points weft at `dirs`, with a plain PATH. */
  readonly env: Readonly<Record<string, string>>;
  /**
   * Runs a program on this host: in its network, mount and PID namespaces, where /var/lib/cni, /etc/cni/net.d,
   * /run/weft and /opt/cni/bin are this host's `dirs`, and nothing that it writes below /run, /etc, /opt and /var/lib
   * reaches the machine. Throws with the program's stderr when it fails.
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
  /** The path by which the machine reaches a file of this host, such as a namespace that one of its runtimes made. */
  seenFromMachine(path: string): string;
}

const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** Where the outside host is; documentation prefixes, so that nothing else can be meant. */
export const OUTSIDE = { v4: '198.51.100.2', v6: '2001:db8:ff::2' } as const;
/** The host's own link to it. */
export const UPLINK = { v4: '198.51.100.1', v6: '2001:db8:ff::1', name: 'uplink' } as const;

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
    timeout: options.timeout ?? 90_000,
    killSignal: 'SIGKILL',
    reject: false,
  });
  if (result.failed && (result.exitCode === undefined || !options.mayFail)) {
    throw new Error([result.shortMessage, result.stdout, result.stderr].filter(Boolean).join('\n'));
  }
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

/** Seconds of silence that prove that there is no way. */
export const SILENCE = 3;

/**
 * Whether an address (either family) answers a ping within so many seconds; the first answer ends it. The host asks for an IPv6 neighbour
 * on a fresh link only when its own link-local address there is through duplicate address detection, some seconds on a busy machine.
 */
export async function ping(netns: string, address: string, seconds = 15): Promise<boolean> {
  const end = Date.now() + seconds * 1000;
  for (let left = seconds; left > 0; left = Math.ceil((end - Date.now()) / 1000)) {
    const args = ['-n', '-q', '-c', '1', '-i', '0.2', '-w', `${left}`, address];
    if ((await execIn(netns, 'ping', args, { mayFail: true })).status === 0) return true;
    // An error from the network ends ping before its time.
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  return false;
}

/** A kernel without ipset or the old tables has nothing there to show. */
const FIREWALL_STATE = `
nft list ruleset || exit
{
  ipset save
  for family in iptables ip6tables; do $family-nft-save; $family-legacy-save; done
} 2>/dev/null
true`;

/** Every line of nftables, iptables and ipset state inside a namespace that contains one of the words. */
export async function firewallLines(netns: string, ...words: string[]): Promise<string[]> {
  const { stdout } = await execIn(netns, 'sh', ['-c', FIREWALL_STATE]);
  const lines = stdout.split('\n').map((line) => line.trim());
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
  for (const dir of [...Object.values(dirs), join(root, 'overlay')]) await mkdir(dir, { recursive: true });
  const netns = await netnsAdd(t, name);
  t.teardown(() => removeCgroups(name));
  const pid = await startInit(t, netns, { root, dirs });
  const enter = ['-t', String(pid), '-m', '-n', '-p', '--'];
  const env = {
    PATH,
    WEFT_DATA_DIR: dirs.data,
    WEFT_RUN_DIR: dirs.run,
    WEFT_CACHE_DIR: dirs.cache,
    WEFT_CONF_DIR: dirs.conf,
    // On a busy machine an agent may take its time; a suite that counts what it served must not see the cold path instead.
    WEFT_AGENT_WAIT: '10000',
  };
  let containers = 0;
  return {
    name,
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
    seenFromMachine: (path) => `/proc/${pid}/root${path}`,
  };
}

/**
 * Starts the first process of a host's PID namespace: a shell that does nothing but reap what is orphaned. When it ends, the
 * kernel ends everything that was started on this host, daemons and their containers included. Returns its PID as the
 * machine sees it.
 */
async function startInit(t: Teardown, netns: string, host: Pick<Host, 'root' | 'dirs'>): Promise<number> {
  const { root, dirs } = host;
  // `slave`: namespaces that `ip netns add` makes later are seen here, mounts made here are not seen outside.
  const child = spawn(
    'setpriv',
    // biome-ignore format: one option with its value per line says more
    [
      '--pdeathsig', 'KILL',
      'nsenter', `--net=${netns}`,
      'unshare', '--mount', '--propagation', 'slave', '--pid', '--fork', '--kill-child=KILL',
      'bash', '-e', '-c', INIT, 'init', join(root, 'overlay'), dirs.cache, dirs.run, dirs.conf, dirs.bin,
    ],
    { stdio: ['ignore', 'pipe', 'pipe'], env: { PATH } },
  );
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const stderr: string[] = [];
  child.stderr.on('data', (data) => stderr.push(String(data)));
  const pid = Number(await firstLine(child.stdout));
  if (!(pid > 1)) throw new Error(`the simulated host could not be made: ${stderr.join('')}`);
  t.teardown(async () => {
    child.ref();
    process.kill(pid, 'SIGKILL');
    await ended;
  });
  // A test ends when nothing is left to wait for; the host must not count.
  child.stdout.destroy();
  child.stderr.destroy();
  child.unref();
  return pid;
}

/**
 * What clients write to fixed places of the file system goes to memory: /run is empty but for the named namespaces, and
 * changes below /etc, /opt and /var/lib stay in an overlay.
 */
const INIT = `
read -r pid rest </proc/self/stat
overlay=$1 cache=$2 run=$3 conf=$4 bin=$5
mount -t tmpfs tmpfs "$overlay"
mkdir "$overlay/netns"
mount --rbind /run/netns "$overlay/netns"
mount -t tmpfs tmpfs /run
mkdir /run/netns /run/lock /run/weft
mount --rbind "$overlay/netns" /run/netns
mount --bind "$run" /run/weft
for dir in /etc /opt /var/lib; do
  mkdir -p "$overlay/upper$dir" "$overlay/work$dir"
  mount -t overlay overlay -o "lowerdir=$dir,upperdir=$overlay/upper$dir,workdir=$overlay/work$dir" "$dir"
done
mkdir -p /var/lib/cni /etc/cni/net.d /opt/cni/bin
mount --bind "$cache" /var/lib/cni
mount --bind "$conf" /etc/cni/net.d
mount --bind "$bin" /opt/cni/bin
rm -f /etc/resolv.conf
echo nameserver 192.0.2.53 >/etc/resolv.conf
mount -t proc proc /proc
echo "$pid"
set +e
sleep infinity &
while :; do wait; done`;

/** Removes the cgroups that runtimes made below `/<name>` in any hierarchy; their processes have ended. */
async function removeCgroups(name: string): Promise<void> {
  const base = '/sys/fs/cgroup';
  for (const hierarchy of ['.', ...(await readdir(base))]) {
    const top = join(base, hierarchy, name);
    const below = await readdir(top, { recursive: true, withFileTypes: true }).catch(() => []);
    const folders = below.filter((entry) => entry.isDirectory()).map((entry) => join(entry.path, entry.name));
    for (const folder of [...folders.sort().reverse(), top]) await rmdir(folder).catch(() => {});
  }
}

/** The first line of a stream, or undefined when it ends without one. */
async function firstLine(stream: Readable): Promise<string | undefined> {
  for await (const line of createInterface({ input: stream })) return line;
  return undefined;
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
