/** What the steps of the demonstration share: a host, `weft` on it, and how commands are shown. */
import { readdirSync, readFileSync, rmdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { RunResult } from '../../../cni/ambient.ts';
import type { Lab } from '../lab.ts';
import type { Progress } from '../progress.ts';

/** What `weft inspect` tells, as far as it is shown here. */
export interface Inspected {
  id: string;
  state: { phase: string; pid?: number; monitor?: number; status?: number; outOfMemory?: boolean };
  cgroups: string[];
  usage: { cpu?: number; memory?: number; throttled?: number };
}

export class Ground {
  readonly lab: Lab;
  readonly progress: Progress;
  readonly #weft: string;
  readonly #env: Record<string, string>;
  readonly #cgroup: string;

  constructor(lab: Lab, progress: Progress, weft: string) {
    this.lab = lab;
    this.progress = progress;
    this.#weft = weft;
    this.#cgroup = basename(lab.folder);
    this.#env = {
      ...lab.environment('host'),
      WEFT_STORE_DIR: join(lab.folder, 'store'),
      WEFT_CGROUP: this.#cgroup,
    };
  }

  /** Runs `weft` there, unseen. */
  async weft(...args: string[]): Promise<RunResult> {
    return await this.lab.run('host', this.#weft, args, { env: this.#env });
  }

  /** Shows a command as a person would type it, runs it, shows what it printed. Returns all of that. */
  async type(...args: string[]): Promise<RunResult> {
    const words = args.map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word}'`));
    this.progress.line(`$ weft ${words.join(' ')}`);
    const result = await this.weft(...args);
    const text = `${result.stdout}${result.stderr}`.trimEnd();
    if (text !== '') this.progress.quote(text.split('\n'));
    return result;
  }

  async inspect(name: string): Promise<Inspected> {
    return JSON.parse((await this.weft('inspect', name)).stdout) as Inspected;
  }

  /** The text of a file, trimmed; undefined when it cannot be read. */
  read(path: string): string | undefined {
    try {
      return readFileSync(path, 'utf8').trim();
    } catch {
      return undefined;
    }
  }

  /** Ends every container, and takes the simulated host away. Repeatable. */
  async close(): Promise<void> {
    const { stdout } = await this.weft('ps', '-aq').catch(() => ({ stdout: '' }));
    const ids = stdout.split('\n').filter(Boolean);
    if (ids.length > 0) await this.weft('rm', '-f', ...ids).catch(() => undefined);
    for (const folder of this.cgroupFolders()) rmdirSync(folder);
    await this.lab.close();
  }

  /** The folder that all containers of this host have their cgroups in, of each hierarchy. */
  cgroupFolders(): string[] {
    const base = '/sys/fs/cgroup';
    return ['.', ...readdirSync(base)]
      .map((hierarchy) => join(base, hierarchy, this.#cgroup))
      .filter((folder) => {
        try {
          return readdirSync(folder).length > 0;
        } catch {
          return false;
        }
      });
  }
}
