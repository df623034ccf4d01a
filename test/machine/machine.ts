/**
 * A real machine for what the kernel of this one may lack: Debian's kernel under qemu, by KVM where /dev/kvm can be opened.
 *
 * ```ts
 * const guest = await machine(t, { memory: 2048, cpus: 2 });
 * const { stdout } = await guest.exec('uname -r');                     // throws with the output when the status is not 0
 * const { status } = await guest.exec('false', { mayFail: true });
 * await guest.exec('npx tap run test/plugins/vlan.test.ts');           // starts in the checkout
 *
 * const [left, right] = await wire(t);                                 // an Ethernet cable between two machines
 * const one = await machine(t, { name: 'one', wires: [left] });        // has `eth0`, down and without address
 * const two = await machine(t, { name: 'two', wires: [right], init: 'systemd' });
 * ```
 *
 * What the machine sees: all files of the outer machine (the checkout and its build among them, at the same paths), and
 * everything that it writes stays in its memory, or on the `disk` that it is given, and goes with that. Empty at start: /run, /tmp, /var/tmp, /var/lib/cni,
 * /var/lib/containerd, /var/lib/etcd, the journal, /etc/resolv.conf. /etc/hostname and /etc/hosts say `name`. /run/machine
 * is shared with the outer machine and writable (`guest.exchange` there); files for both go there.
 * cgroup v2 alone at /sys/fs/cgroup, with all controllers; AppArmor is on; no network but `lo` and the wires.
 * `init: 'script'`: the first process is a shell that runs what `exec` is given (no udev, no D-Bus, no services).
 * `init: 'systemd'`: systemd and its journal (udev where the outer machine has it), up to basic.target; services that the outer machine has enabled are
 * not started: start what you need by `exec('systemctl start ...')` (D-Bus starts by its socket).
 * Packages: `scripts/install-packages.sh machine`. The kernel is fetched once, into dist/machine (scripts/machine-image.sh).
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { mkdir, mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { type ExecResult, exec, type Teardown } from '../support/host.ts';
import { hasKvm, qemuArguments, type WireEnd } from './qemu.ts';

const HERE = import.meta.dirname;
const CHECKOUT = path.resolve(HERE, '../..');
const CACHE = path.join(CHECKOUT, 'dist/machine');
const PATIENCE = hasKvm() ? 120 : 600;

export interface MachineOptions {
  /** Host name, `weft` if not given. */
  name?: string;
  init?: 'script' | 'systemd';
  /** Mebibytes, 2048 if not given: files that are written count. */
  memory?: number;
  /** Two, if not given. */
  cpus?: number;
  /** Ends of wires; the first is eth0 in the machine, and so on. */
  wires?: readonly WireEnd[];
  /** A file from disk(): what the machine writes is kept there for the next one that is given it. */
  disk?: string;
  /** More words for the kernel's command line. */
  kernel?: string;
  /** Seconds until the machine is killed, whatever it does; 900 if not given. */
  limit?: number;
}

export interface MachineExecOptions {
  /** Seconds, 120 if not given (600 without KVM); then the command is ended and its status is 124 (137 if it had to be killed). */
  timeout?: number;
  input?: string;
  env?: Readonly<Record<string, string>>;
  /** Answer with a status other than 0 instead of throwing. */
  mayFail?: boolean;
  /** Where it starts; the checkout if not given. */
  cwd?: string;
  /** Is given what the command prints while it runs. */
  watch?: (text: string) => void;
}

export interface Machine {
  readonly name: string;
  /** The folder of the outer machine that the machine sees as /run/machine. */
  readonly exchange: string;
  /** Milliseconds from the start of qemu until the machine took commands. */
  readonly bootMs: number;
  /** Runs a script of bash as root; several may run at once. Throws when it fails, and when the machine ends before it does. */
  exec(script: string, options?: MachineExecOptions): Promise<ExecResult>;
  /** What the machine's serial console has said so far. */
  console(): Promise<string>;
  /** Pulls the plug; done at teardown as well. */
  stop(): Promise<void>;
}

/** A cable: what goes in at one end comes out at the other. Nothing else is on it, the outer machine neither. */
export async function wire(t: Teardown): Promise<[WireEnd, WireEnd]> {
  const folder = await mkdtemp(path.join(tmpdir(), 'weft-wire-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const [a, b] = [path.join(folder, 'a'), path.join(folder, 'b')];
  return [
    { local: a, remote: b },
    { local: b, remote: a },
  ];
}

/** A disk of some GiB, empty and sparse, that goes with the test. */
export async function disk(t: Teardown): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), 'weft-disk-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const file = path.join(folder, 'disk');
  await exec('truncate', ['-s', '4G', file]);
  await exec('mke2fs', ['-q', '-t', 'ext4', '-E', 'lazy_itable_init=1', file]);
  return file;
}

/** Boots a machine that ends with the test `t`, with this process, or after `limit`, whichever comes first. */
export async function machine(t: Teardown, options: MachineOptions = {}): Promise<Machine> {
  const { name = 'weft', limit = 900 } = options;
  await exec(path.join(CHECKOUT, 'scripts/machine-image.sh'), [CACHE], { timeout: 600_000 });
  const exchange = await mkdtemp(path.join(tmpdir(), 'weft-machine-'));
  t.teardown(() => rm(exchange, { recursive: true, force: true }));
  for (const file of ['guest.sh', 'weft-machine.service', 'weft-machine.target']) {
    await writeFile(path.join(exchange, file), await readFile(path.join(HERE, file)));
  }
  const console = () => readFile(path.join(exchange, 'console'), 'utf8');
  const connection = connected(t, path.join(exchange, 'port'));
  const started = Date.now();
  const child = start(exchange, qemuArguments({ ...options, name, exchange, cache: CACHE }));
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const stop = async () => {
    child.kill('SIGKILL');
    await ended;
  };
  t.teardown(stop);
  const timer = setTimeout(stop, limit * 1000);
  const failure = ended.then(async () => {
    clearTimeout(timer);
    const log = await readFile(path.join(exchange, 'qemu.log'), 'utf8');
    throw new Error(
      `machine ${name} has ended (its limit is ${limit} s): ${log}${(await console()).slice(-2000)}`,
    );
  });
  // Whoever waits for a command hears of it.
  failure.catch(() => {});
  const port = await Promise.race([connection, failure]);
  const answers = answersOf(port);
  await Promise.race([answers('up'), failure]);
  const bootMs = Date.now() - started;
  let commands = 0;
  return {
    ...{ name, exchange, bootMs, console, stop },
    exec: async (
      script,
      { timeout = PATIENCE, input = '', env = {}, mayFail, cwd = CHECKOUT, watch } = {},
    ) => {
      commands += 1;
      const number = String(commands);
      const folder = path.join(exchange, number);
      await mkdir(folder);
      const variables = Object.entries(env).map(([key, value]) => `export ${key}=${quoted(value)}\n`);
      const command = `cd ${quoted(cwd)} || exit\n${variables.join('')}${script}\n`;
      const files = { command, stdin: input, seconds: String(timeout), stdout: '', stderr: '' };
      for (const [file, text] of Object.entries(files)) await writeFile(path.join(folder, file), text);
      const tail =
        watch &&
        follow(
          ['stdout', 'stderr'].map((file) => path.join(folder, file)),
          watch,
        );
      port.write(`${number}\n`);
      const status = await Promise.race([answers(number), failure]).finally(() => tail?.());
      const stdout = await readFile(path.join(folder, 'stdout'), 'utf8');
      const stderr = await readFile(path.join(folder, 'stderr'), 'utf8');
      if (status !== 0 && !mayFail) {
        throw new Error(`${script}: status ${status} in machine ${name}\n${stdout}${stderr}`);
      }
      return { status, stdout: stdout.trimEnd(), stderr: stderr.trimEnd() };
    },
  };
}

function start(exchange: string, args: readonly string[]): ChildProcess {
  const log = openSync(path.join(exchange, 'qemu.log'), 'w');
  // The machine must not outlive a test that is killed.
  const command = ['--pdeathsig', 'KILL', 'qemu-system-x86_64', ...args];
  const child = spawn('setpriv', command, { stdio: ['ignore', log, log] });
  closeSync(log);
  return child;
}

/** qemu comes to this socket as soon as it starts. */
function connected(t: Teardown, socket: string): Promise<Socket> {
  const server = createServer();
  const port = new Promise<Socket>((resolve) => server.once('connection', resolve));
  server.listen(socket);
  t.teardown(async () => {
    server.close();
    (await Promise.race([port, undefined]))?.destroy();
  });
  return port;
}

/** Lines `<number> <status>` of the port, each given to who waits for it. */
function answersOf(port: Socket): (number: string) => Promise<number> {
  const waiting = new Map<string, (status: number) => void>();
  port.on('error', () => {});
  createInterface({ input: port }).on('line', (line) => {
    const [number = '', status] = line.split(' ');
    waiting.get(number)?.(Number(status));
    waiting.delete(number);
  });
  return (number) => new Promise((resolve) => waiting.set(number, resolve));
}

/** Gives what is added to files to `watch`, five times a second, until the returned function is called. */
function follow(files: readonly string[], watch: (text: string) => void): () => Promise<void> {
  const read = files.map(() => 0);
  const look = async () => {
    for (const [i, file] of files.entries()) {
      const handle = await open(file);
      const { buffer, bytesRead } = await handle.read({
        position: read[i] ?? 0,
        buffer: Buffer.alloc(1 << 20),
      });
      await handle.close();
      read[i] = (read[i] ?? 0) + bytesRead;
      if (bytesRead > 0) watch(buffer.toString('utf8', 0, bytesRead));
    }
  };
  let last = Promise.resolve();
  const timer = setInterval(() => {
    last = last.then(look);
  }, 200);
  return () => {
    clearInterval(timer);
    return last.then(look);
  };
}

const quoted = (text: string) => `'${text.replaceAll("'", "'\\''")}'`;
