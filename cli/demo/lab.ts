/**
 * Simulated hosts: network namespaces pinned below a temporary folder, and the folders that weft uses on a host.
 * The namespace this process runs in is never changed.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import type { Ambient, RunOptions, RunResult } from '../../cni/ambient.ts';
import { CniError, ErrorCode } from '../../cni/errors.ts';
import { createNamespace, removeNamespace } from '../../netlink/namespace.ts';

export const PLACES = ['host', 'outside', 'red', 'blue'] as const;
export type Place = (typeof PLACES)[number];

/** Prefixes for documentation (RFC 5737, RFC 3849), so that nothing else can be meant. */
export const UPLINK = {
  host: { v4: '203.0.113.2', v6: '2001:db8:113::2' },
  outside: { v4: '203.0.113.1', v6: '2001:db8:113::1' },
} as const;

/** Longer than anything here takes. Milliseconds. */
const PATIENCE = 20_000;

const PROGRAMS = { ip: 'iproute2', nsenter: 'util-linux', ping: 'iputils-ping' } as const;

export class Lab {
  readonly folder: string;
  readonly #ambient: Ambient;
  readonly #env: Record<string, string>;
  readonly #running = new Set<Promise<unknown>>();
  readonly #daemons: (() => void)[] = [];
  #closed = false;

  private constructor(ambient: Ambient, home: string) {
    this.#ambient = ambient;
    this.folder = mkdtempSync(join(tmpdir(), 'weft-demo-'));
    this.#env = {
      PATH: ambient.env.PATH || '/usr/sbin:/usr/bin:/sbin:/bin',
      WEFT_DATA_DIR: join(this.folder, 'networks'),
      WEFT_CACHE_DIR: join(this.folder, 'cache'),
      WEFT_RUN_DIR: join(this.folder, 'run'),
      WEFT_CONF_DIR: join(this.folder, 'net.d'),
      WEFT_HOST_ID: 'weft-demo',
      CNI_PATH: home,
    };
  }

  /** Makes the namespaces and the wire between host and outside. Throws CniError; then nothing is left. */
  static async open(ambient: Ambient, home: string): Promise<Lab> {
    if (process.geteuid?.() !== 0) {
      throw new CniError(ErrorCode.kernel, 'the demonstration needs root, to make network namespaces');
    }
    for (const [program, debianPackage] of Object.entries(PROGRAMS))
      await need(ambient, program, debianPackage);
    const lab = new Lab(ambient, home);
    try {
      await lab.#build();
      return lab;
    } catch (error) {
      await lab.close();
      throw error;
    }
  }

  netns(place: Place): string {
    return join(this.folder, 'ns', place);
  }

  get folders(): { leases: string; cache: string; conf: string } {
    const { WEFT_DATA_DIR = '', WEFT_CACHE_DIR = '', WEFT_CONF_DIR = '' } = this.#env;
    return { leases: WEFT_DATA_DIR, cache: WEFT_CACHE_DIR, conf: WEFT_CONF_DIR };
  }

  /** The lines by which a shell becomes one of the simulated host. */
  get shellEnvironment(): string[] {
    const names = Object.keys(this.#env).filter((name) => name !== 'PATH');
    return names.map((name) => `export ${name}=${this.#env[name]}`);
  }

  /** Runs a program in a namespace. Throws CniError(program) when it cannot be started, or after close(). */
  async run(
    place: Place,
    file: string,
    args: readonly string[],
    options: RunOptions = {},
  ): Promise<RunResult> {
    if (this.#closed) throw new CniError(ErrorCode.program, 'the demonstration has ended');
    const running = this.#ambient.run('nsenter', [`--net=${this.netns(place)}`, '--', file, ...args], {
      env: this.#env,
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

  /** Starts a Node script in a namespace and waits for its first output. It ends with the lab, or with this process. */
  async serve(place: Place, script: string): Promise<void> {
    const { spawn } = await import('node:child_process');
    const node = [process.execPath, '-e', script];
    const child = spawn(
      'setpriv',
      ['--pdeathsig', 'KILL', 'nsenter', `--net=${this.netns(place)}`, '--', ...node],
      { env: this.#env, stdio: ['ignore', 'pipe', 'ignore'] },
    );
    this.#daemons.push(() => void child.kill('SIGKILL'));
    await new Promise<void>((resolve, reject) => {
      const fail = () => reject(new CniError(ErrorCode.program, `the server on ${place} did not start`));
      child.stdout.once('data', () => resolve());
      child.once('error', fail);
      child.once('exit', fail);
    });
  }

  /** Takes everything away: processes, namespaces, the folder. Repeatable. Waits for programs that still run. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const stop of this.#daemons.splice(0)) stop();
    await Promise.allSettled(this.#running);
    for (const place of PLACES) await removeNamespace(this.netns(place));
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 5 });
  }

  async #build(): Promise<void> {
    for (const folder of ['ns', 'net.d']) mkdirSync(join(this.folder, folder), { mode: 0o700 });
    for (const place of PLACES) await createNamespace(this.netns(place));
    await this.#batch(
      'host',
      'link set lo up',
      `link add uplink type veth peer name uplink netns ${this.netns('outside')}`,
      `address add ${UPLINK.host.v4}/24 dev uplink`,
      `address add ${UPLINK.host.v6}/64 dev uplink nodad`,
      'link set uplink up',
    );
    await this.#batch(
      'outside',
      'link set lo up',
      `address add ${UPLINK.outside.v4}/24 dev uplink`,
      `address add ${UPLINK.outside.v6}/64 dev uplink nodad`,
      'link set uplink up',
    );
    await this.#batch(
      'host',
      `route add default via ${UPLINK.outside.v4}`,
      `-6 route add default via ${UPLINK.outside.v6}`,
    );
    writeFileSync(join(this.folder, 'environment'), `${this.shellEnvironment.join('\n')}\n`);
  }

  async #batch(place: Place, ...commands: string[]): Promise<void> {
    for (const command of commands) await this.must(place, 'ip', ...command.split(' '));
  }
}

async function need(ambient: Ambient, program: string, debianPackage: string): Promise<void> {
  try {
    await ambient.run(program, ['-V'], { timeout: PATIENCE });
  } catch (cause) {
    throw new CniError(
      ErrorCode.program,
      `the demonstration needs ${program}: install the package ${debianPackage}`,
      (cause as Error).message,
      { cause },
    );
  }
}
