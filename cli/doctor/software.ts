/** The programs of weft on this host. */
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { ownIdentity } from '../../agent/identity.ts';
import type { Software } from '../../inspect/doctor/view.ts';
import { agentFacts, scrape } from '../agent/scrape.ts';
import type { WeftContext } from '../context.ts';
import { WEFT_VERSION } from '../version.ts';

const BUNDLE = 'weft-core.js';
/** Where `make install` puts the executables. */
const INSTALLED = '/opt/cni/bin';

/** @param folders where runtimes may look for plugins */
export async function readSoftware(
  { ambient, home }: Pick<WeftContext, 'ambient' | 'home'>,
  folders: readonly string[],
): Promise<Software> {
  const { runDir } = ambient.paths;
  const scraped = await scrape(runDir);
  const found: Software = {
    ...{ version: WEFT_VERSION, agent: scraped.state, agentSocket: join(runDir, 'agent.sock') },
    strangers: strangers(home, [...folders, INSTALLED]),
  };
  if (scraped.state !== 'running') return found;
  const { version, identity } = agentFacts(scraped.samples);
  return { ...found, agentVersion: version, ours: identity === ownIdentity(join(home, BUNDLE)) };
}

/** Folders with weft's bundle that is not this one. */
function strangers(home: string, folders: readonly string[]): string[] {
  const own = readOrNone(join(home, BUNDLE));
  if (own === undefined) return [];
  const others = [...new Set(folders.map((folder) => resolve(folder)))].filter(
    (folder) => folder !== resolve(home) && existsSync(join(folder, BUNDLE)),
  );
  return others
    .map((folder) => join(folder, BUNDLE))
    .filter((path) => !(readOrNone(path)?.equals(own) ?? true));
}

function readOrNone(path: string): Buffer | undefined {
  try {
    return readFileSync(path);
  } catch {
    return undefined;
  }
}
