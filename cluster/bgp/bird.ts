/**
 * BIRD 2 as this host's BGP speaker: weft writes its configuration, starts it, reloads it when hosts come and go, watches its sessions,
 * and starts it again when it dies. It runs in the namespace of this process, and stays when this process ends: the next controller with
 * the same folder finds it and goes on. Its routes are those with BGP_ROUTE's protocol and metric.
 */
import { spawn } from 'node:child_process';
import { closeSync, existsSync, openSync, readFileSync, rmSync } from 'node:fs';
import { open, rename } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { CniError, ErrorCode } from '../../cni/errors.ts';
import { makeFolder } from '../../cni/folder.ts';
import type { ClusterNetwork } from '../network.ts';
import type { Member } from '../registry.ts';
import { birdConfig } from './bird-config.ts';
import { BirdControl, parseProtocols } from './bird-control.ts';
import { type BgpNetwork, type Speaker, speakerOf } from './speaker.ts';

/** One BGP session. */
export interface Session {
  /** The neighbour's name in the registry, or its address where it has none there. */
  peer: string;
  address: string;
  established: boolean;
  /** BGP's word (RFC 4271, section 8.2.2): `Established`, `Active`, `Connect`, `Idle`, ...; `Unknown` while BIRD does not run. */
  state: string;
  /** Milliseconds since the epoch: of the last change. */
  since: number;
  /** Why it is not established, in BIRD's words. */
  error: string | undefined;
  /** How many subnets were learned, and told. */
  imported: number;
  exported: number;
}

/** pino's logger fits. */
export interface BgpLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

export interface BgpOptions {
  /** Configuration, control socket and log are in its folder `bird`. */
  runDir: string;
  log: BgpLog;
  /** The program and what stands before its arguments: `bird` along PATH. */
  command?: readonly [string, ...string[]];
  /** Milliseconds between two looks at the sessions, to tell of changes: 5000. */
  interval?: number;
  /** Milliseconds after which a BIRD that does not answer is ended and started again: 4000. */
  patience?: number;
}

/** Milliseconds. */
const START = { patience: 5000, step: 20 } as const;
const BACKOFF = { first: 200, most: 30_000 } as const;

export class BgpController {
  readonly #options: BgpOptions;
  readonly #folder: string;
  readonly #networks = new Map<string, BgpNetwork>();
  /** What was told to a daemon that runs. */
  #text: string | undefined;
  #speaker: Speaker | undefined;
  #control: BirdControl | undefined;
  #last: Promise<unknown> = Promise.resolve();
  #retry: NodeJS.Timeout | undefined;
  #delay: number = BACKOFF.first;
  #watch: NodeJS.Timeout | undefined;
  #states = new Map<string, string>();
  #problem: string | undefined;
  #closed = false;

  constructor(options: BgpOptions) {
    this.#options = options;
    this.#folder = join(options.runDir, 'bird');
  }

  /** Why BIRD does not do what it should, in words for a person; undefined while it does. */
  get problem(): string | undefined {
    return this.#problem ?? this.#speaker?.problems[0];
  }

  /**
   * Makes BIRD announce what `self` holds on a network and learn what the other members hold; starts it where it does not run. Repeat it
   * at every change: an equal state costs nothing. Throws CniError: program when BIRD is missing or does not start (it is tried again
   * until close), invalidConfig when this network does not go together with those there are.
   */
  async update(network: ClusterNetwork, self: Member, members: readonly Member[]): Promise<void> {
    await this.#turn(async () => {
      const wanted = new Map(this.#networks).set(network.name, { network, self, members });
      // Throws before anything has changed.
      this.#speaker = speakerOf([...wanted.values()]);
      this.#networks.set(network.name, { network, self, members });
      await this.#apply();
    });
  }

  /** Takes a network's routes and sessions away; with the last one, BIRD ends. Idempotent. */
  async remove(network: string): Promise<void> {
    await this.#turn(async () => {
      this.#networks.delete(network);
      if (this.#networks.size > 0) {
        this.#speaker = speakerOf([...this.#networks.values()]);
        await this.#apply();
      } else await this.#end();
    });
  }

  /** All sessions there should be, sorted by name; those that BIRD does not have are `Unknown`. */
  async sessions(): Promise<Session[]> {
    const speaker = this.#speaker;
    if (speaker === undefined) return [];
    const lines = await this.#control?.ask('show protocols all').catch(() => []);
    const found = new Map(parseProtocols(lines ?? []).map((one) => [one.name, one]));
    return speaker.peers.map(({ name, host, address }) => {
      const protocol = found.get(name);
      const { since = 0, error, imported = 0, exported = 0, info: state = 'Unknown' } = protocol ?? {};
      const established = protocol?.state === 'up';
      return { peer: host ?? address, address, established, state, since, error, imported, exported };
    });
  }

  /** Ends watching. BIRD goes on, and with it the routes: what runs on this host keeps its network. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#retry);
    clearInterval(this.#watch);
    await this.#last;
    this.#control?.close();
  }

  /** One change after the other. */
  #turn<T>(act: () => Promise<T>): Promise<T> {
    const mine = this.#last.then(act);
    this.#last = mine.catch(() => {});
    return mine;
  }

  async #apply(): Promise<void> {
    try {
      await this.#converge();
      this.#problem = undefined;
    } catch (error) {
      this.#problem = (error as Error).message;
      this.#again();
      throw error;
    }
  }

  async #converge(): Promise<void> {
    if (this.#speaker === undefined || this.#closed) return;
    const text = birdConfig(this.#speaker, { log: this.#path('bird.log') });
    if (this.#control !== undefined && text === this.#text) return;
    makeFolder(this.#folder, 0o700);
    const before = existsSync(this.#path('bird.conf'));
    if (!before || readFileSync(this.#path('bird.conf'), 'utf8') !== text) {
      await writeAtomically(this.#path('bird.conf'), text);
    }
    this.#control ??= await this.#connect(before);
    await this.#control.ask(`configure "${this.#path('bird.conf')}"`);
    this.#text = text;
    this.#options.log.info(
      { peers: this.#speaker.peers.length, networks: this.#speaker.networks },
      'BIRD is configured',
    );
    this.#watch ??= setInterval(() => void this.#look(), this.#options.interval ?? 5000).unref();
  }

  /** To the daemon that runs, or to one that is started. `before`: it ran, and its routes may still be there. */
  async #connect(before: boolean): Promise<BirdControl> {
    const socket = this.#path('bird.ctl');
    const control = await BirdControl.open(socket, this.#options.patience).catch(async () => {
      this.#endSilent();
      rmSync(socket, { force: true });
      return await this.#start(before);
    });
    control.onEnd(() => {
      if (this.#control !== control) return;
      this.#control = undefined;
      if (this.#closed) return;
      this.#problem = 'BIRD has ended: it is started again';
      this.#options.log.warn({}, this.#problem);
      this.#again();
    });
    return control;
  }

  /** One that runs and does not answer would have port and sessions for ever. Its PID may be another's by now. */
  #endSilent(): void {
    const pid = Number(wordsIn(this.#path('bird.pid')));
    if (pid > 1 && wordsIn(`/proc/${pid}/cmdline`).split('\0').includes(this.#path('bird.conf'))) {
      this.#options.log.warn({ pid }, 'BIRD runs and does not answer: it is ended');
      process.kill(pid, 'SIGKILL');
    }
  }

  /** Starts the daemon, and waits until it answers. */
  async #start(before: boolean): Promise<BirdControl> {
    const [program, ...first] = this.#options.command ?? ['bird'];
    const words = this.#path('start.log');
    const stderr = openSync(words, 'w', 0o600);
    const args = [
      ...first,
      '-f',
      '-c',
      this.#path('bird.conf'),
      '-s',
      this.#path('bird.ctl'),
      '-P',
      this.#path('bird.pid'),
    ];
    // Of its own session: what interrupts the agent at a terminal does not interrupt routing.
    const child = spawn(program, before ? [...args, '-R'] : args, {
      stdio: ['ignore', stderr, stderr],
      detached: true,
    });
    closeSync(stderr);
    child.unref();
    let ended: string | undefined;
    child.once('error', (error: NodeJS.ErrnoException) => {
      ended = error.code === 'ENOENT' ? 'it is not installed (Debian: bird2)' : error.message;
    });
    child.once('exit', (status, signal) => {
      ended ??= wordsIn(words) || `it ended with ${signal ?? `status ${status}`}`;
    });
    for (let waited = 0; waited < START.patience; waited += START.step) {
      if (ended !== undefined) break;
      // The socket is there before somebody listens on it.
      const control = await BirdControl.open(this.#path('bird.ctl'), this.#options.patience).catch(
        () => undefined,
      );
      if (control !== undefined) return control;
      await new Promise((resolve) => setTimeout(resolve, START.step));
    }
    throw new CniError(
      ErrorCode.program,
      `${program}, which shall announce the routes of this host, does not start: ${ended ?? `no control socket within ${START.patience / 1000} seconds`}`,
    );
  }

  /** Tries again later, and later each time. */
  #again(): void {
    if (this.#closed || this.#retry !== undefined) return;
    this.#retry = setTimeout(() => {
      this.#retry = undefined;
      void this.#turn(() => this.#apply()).catch((error: Error) => {
        this.#options.log.warn(
          { error: error.message },
          'BIRD does not do what it should: tried again later',
        );
      });
    }, this.#delay).unref();
    this.#delay = Math.min(this.#delay * 2, BACKOFF.most);
  }

  /** Tells of sessions that changed. */
  async #look(): Promise<void> {
    const sessions = await this.sessions();
    for (const { peer, address, established, state, error } of sessions) {
      const word = established ? 'established' : `${state} ${error ?? ''}`.trim();
      if (this.#states.get(address) === word) continue;
      const level = established || !this.#states.get(address)?.startsWith('established') ? 'info' : 'warn';
      this.#states.set(address, word);
      this.#options.log[level]({ peer, address, state: word }, 'BGP session');
    }
    if (this.#control !== undefined) this.#delay = BACKOFF.first;
  }

  /** An empty configuration takes all routes from the kernel before BIRD ends, which by itself leaves them. */
  async #end(): Promise<void> {
    clearTimeout(this.#retry);
    clearInterval(this.#watch);
    [this.#retry, this.#watch, this.#speaker, this.#text, this.#problem] = [
      undefined,
      undefined,
      undefined,
      undefined,
      undefined,
    ];
    const control =
      this.#control ??
      (await BirdControl.open(this.#path('bird.ctl'), this.#options.patience).catch(() => undefined));
    this.#control = undefined;
    if (control !== undefined) {
      await withdraw(control);
      const ended = new Promise<void>((resolve) => control.onEnd(resolve));
      await control.ask('down').catch(() => []);
      await ended;
    }
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #path(name: string): string {
    return join(this.#folder, name);
  }
}

/** Disabling what brings routes in takes them out of the kernel, as long as the kernel's protocol is up. */
async function withdraw(control: BirdControl): Promise<void> {
  const look = async () => parseProtocols(await control.ask('show protocols all'));
  for (const { name, kind } of await look()) {
    if (kind === 'BGP' || kind === 'Static') await control.ask(`disable '${name}'`);
  }
  for (let waited = 0; waited < START.patience; waited += START.step) {
    const left = (await look()).filter(({ kind, exported }) => kind === 'Kernel' && exported > 0);
    if (left.length === 0) return;
    await new Promise((resolve) => setTimeout(resolve, START.step));
  }
}

/** What is in a file that may be gone: its folder, or the process that it is about. */
function wordsIn(file: string): string {
  return existsSync(file) ? readFileSync(file, 'utf8').trim() : '';
}

async function writeAtomically(path: string, text: string): Promise<void> {
  const temporary = `${path}.new`;
  const file = await open(temporary, 'w', 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, path);
  const folder = await open(dirname(path), 'r');
  await folder.sync().finally(() => folder.close());
}
