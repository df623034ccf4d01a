/**
 * Simulated hosts: network namespaces pinned below a temporary folder, and the folders that weft uses on a host.
 * The namespace this process runs in is never changed.
 */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import process from 'node:process';
import type { Ambient, RunOptions, RunResult } from '../../cni/ambient.ts';
import { CniError, ErrorCode } from '../../cni/errors.ts';
import { createNamespace, removeNamespace } from '../../netlink/namespace.ts';
import { claim, collectAbandoned, PREFIX } from './abandoned.ts';
import type { Daemon } from './daemon.ts';

/** Longer than anything here takes. Milliseconds. */
const PATIENCE = 60_000;

/** Programs, with what they answer at once to, and where Debian has them. */
const PROGRAMS = {
  ip: ['-V', 'iproute2'],
  nsenter: ['-V', 'util-linux'],
  ping: ['-V', 'iputils-ping'],
  bridge: ['-V', 'iproute2'],
  tcpdump: ['--version', 'tcpdump'],
  iperf3: ['-v', 'iperf3'],
  bird: ['--version', 'bird2'],
  etcd: ['--version', 'etcd-server'],
} as const;
export type Program = keyof typeof PROGRAMS;

/** A simulated host or container: a network namespace. */
export type Place = string;

export interface LabOptions {
  places: readonly Place[];
  /** Of those, the ones that weft's folders belong to, and where these are below the lab's folder. */
  hosts: Readonly<Record<Place, string>>;
  needs: readonly Program[];
  /** What is in the namespaces at first. */
  build(lab: Lab): Promise<void>;
}

export interface HostFolders {
  leases: string;
  cache: string;
  run: string;
  conf: string;
}

export class Lab {
  readonly folder: string;
  readonly #ambient: Ambient;
  readonly #options: LabOptions;
  readonly #env: Record<string, string>;
  readonly #running = new Set<Promise<unknown>>();
  readonly #daemons: Daemon[] = [];
  readonly #release: () => void;
  #closed = false;

  private constructor(ambient: Ambient, home: string, options: LabOptions) {
    this.#ambient = ambient;
    this.#options = options;
    this.folder = mkdtempSync(join(tmpdir(), PREFIX));
    this.#release = claim(this.folder);
    this.#env = { PATH: ambient.env.PATH || '/usr/sbin:/usr/bin:/sbin:/bin', CNI_PATH: home };
  }

  /** Makes the namespaces and what is in them. Throws CniError; then nothing is left. */
  static async open(ambient: Ambient, home: string, options: LabOptions): Promise<Lab> {
    if (process.geteuid?.() !== 0) {
      throw new CniError(ErrorCode.kernel, 'the demonstration needs root, to make network namespaces');
    }
    for (const program of options.needs) await need(ambient, program);
    for (const folder of await collectAbandoned()) {
      ambient.log(`${folder} is taken away: its demonstration was killed`);
    }
    const lab = new Lab(ambient, home, options);
    try {
      mkdirSync(join(lab.folder, 'ns'), { mode: 0o700 });
      for (const place of options.places) {
        await createNamespace(lab.netns(place));
        await lab.must(place, 'ip', 'link', 'set', 'lo', 'up');
      }
      for (const host of Object.keys(options.hosts)) lab.#makeHost(host);
      await options.build(lab);
      return lab;
    } catch (error) {
      await lab.close();
      throw error;
    }
  }

  netns(place: Place): string {
    return join(this.folder, 'ns', place);
  }

  folders(host: Place): HostFolders {
    const root = join(this.folder, this.#options.hosts[host] ?? host);
    return {
      leases: join(root, 'networks'),
      cache: join(root, 'cache'),
      run: join(root, 'run'),
      conf: join(root, 'net.d'),
    };
  }

  /** What a program of a place has in its environment. */
  environment(place: Place): Record<string, string> {
    if (!(place in this.#options.hosts)) return this.#env;
    const { leases, cache, run, conf } = this.folders(place);
    return {
      ...this.#env,
      WEFT_DATA_DIR: leases,
      WEFT_CACHE_DIR: cache,
      WEFT_RUN_DIR: run,
      WEFT_CONF_DIR: conf,
      WEFT_HOST_ID: place === 'host' ? 'weft-demo' : place,
    };
  }

  /** Runs a program in a namespace. Throws CniError(program) when it cannot be started, or after close(). */
  async run(
    place: Place,
    file: string,
    args: readonly string[],
    options: RunOptions = {},
  ): Promise<RunResult> {
    this.#refuseClosed();
    const running = this.#ambient.run('nsenter', [`--net=${this.netns(place)}`, '--', file, ...args], {
      env: this.environment(place),
      timeout: PATIENCE,
      ...options,
    });
    this.#running.add(running);
    try {
      return await running;
    } finally {
      this.#running.delete(running);
    }
  }

  /** As run; throws with the program's own words when it fails. Returns its standard output. */
  async must(place: Place, file: string, ...args: string[]): Promise<string> {
    const { status, stdout, stderr } = await this.run(place, file, args);
    if (status === 0) return stdout;
    const words = stderr.trim() || stdout.trim() || `status ${status}`;
    throw new CniError(ErrorCode.program, `on ${place}, ${file} ${args.join(' ')} failed`, words);
  }

  /** Runs `ip` once for each line. */
  async ip(place: Place, ...lines: string[]): Promise<void> {
    for (const line of lines) await this.must(place, 'ip', ...line.split(' '));
  }

  /** Starts a Node script in a namespace and waits for its first output. It ends with the lab, or with this process. */
  async serve(place: Place, script: string): Promise<void> {
    const { serve } = await import('./daemon.ts');
    this.#refuseClosed();
    const command = this.#inside(place, [process.execPath, '-e', script]);
    await this.#started(serve(command, this.environment(place)));
  }

  /**
   * Starts a program in a namespace that writes to `log`, a file of the lab's folder, and waits until it holds `sign`. It ends with the
   * lab, not with this process.
   */
  async daemon(
    place: Place,
    log: string,
    sign: RegExp,
    command: readonly string[],
    env: Readonly<Record<string, string>> = {},
  ): Promise<Daemon> {
    const { startLogged } = await import('./daemon.ts');
    this.#refuseClosed();
    const file = join(this.folder, log);
    const all = { ...this.environment(place), ...env };
    return await this.#started(startLogged(this.#inside(place, command), all, file, sign));
  }

  /** Ends what wrote its PID to a file; nothing happens where there is none. */
  async endPid(file: string): Promise<void> {
    const pid = Number(existsSync(file) ? readFileSync(file, 'utf8') : 0);
    if (pid > 1) await this.#ambient.run('kill', ['-KILL', `${pid}`], { timeout: PATIENCE });
  }

  /** PIDs of what was started and runs. */
  get pids(): number[] {
    return this.#daemons.map(({ pid }) => pid);
  }

  /** Ends all daemons, also those that are being started, and waits for programs that still run. Nothing can be run after that. */
  async stop(): Promise<void> {
    this.#closed = true;
    const stopAll = () => Promise.all(this.#daemons.splice(0).map((daemon) => daemon.stop()));
    await stopAll();
    await Promise.allSettled(this.#running);
    await stopAll();
  }

  /** Takes everything away: processes, namespaces, the folder. Repeatable. Waits for programs that still run. */
  async close(): Promise<void> {
    await this.stop();
    for (const place of this.#options.places) await removeNamespace(this.netns(place));
    this.#release();
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 5 });
  }

  /** Leaves everything standing when this process ends. */
  keep(): void {
    this.#release();
  }

  #refuseClosed(): void {
    if (this.#closed) throw new CniError(ErrorCode.program, 'the demonstration has ended');
  }

  async #started(starting: Promise<Daemon>): Promise<Daemon> {
    this.#running.add(starting);
    try {
      const daemon = await starting;
      this.#daemons.push(daemon);
      return daemon;
    } finally {
      this.#running.delete(starting);
    }
  }

  #makeHost(host: Place): void {
    const { conf } = this.folders(host);
    mkdirSync(conf, { recursive: true, mode: 0o700 });
    const names = Object.entries(this.environment(host)).filter(([name]) => name !== 'PATH');
    const lines = names.map(([name, value]) => `export ${name}=${value}\n`);
    writeFileSync(join(dirname(conf), 'environment'), lines.join(''));
  }

  #inside(place: Place, command: readonly string[]): string[] {
    return ['nsenter', `--net=${this.netns(place)}`, '--', ...command];
  }
}

async function need(ambient: Ambient, program: Program): Promise<void> {
  const [flag, debianPackage] = PROGRAMS[program];
  try {
    await ambient.run(program, [flag], { timeout: PATIENCE });
  } catch (cause) {
    throw new CniError(
      ErrorCode.program,
      `the demonstration needs ${program}: install the package ${debianPackage}`,
      (cause as Error).message,
      { cause },
    );
  }
}
