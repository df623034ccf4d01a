/** The dnsname plugin: containers of a network find each other by name. The agent answers. */
import fs from 'node:fs';
import { join } from 'node:path';
import type { Ambient } from '../../cni/ambient.ts';
import { configSchema } from '../../cni/config.ts';
import { makeFolder } from '../../cni/folder.ts';
import type { GcRequest } from '../../cni/plugin.ts';
import { lock, tryLock } from '../../netlink/lock.ts';
import { readNames } from '../../plan/steps/names.ts';
import type { ChainedDefinition } from '../chained.ts';
import { dnsnamePlan, dnsnameRemoval, dnsnameResult, namesFolder } from './plan.ts';
import { type DnsnameConf, schema } from './schema.ts';
import { validate } from './validate.generated.ts';

// Apart: TypeScript gives up on inferring the schema's type where a type is expected already.
const config = configSchema(schema, validate);

export const dnsname: ChainedDefinition<DnsnameConf> = {
  type: 'dnsname',
  about: 'weft dnsname: names of containers, which the agent answers',
  config,
  knownArgs: [],
  plan: dnsnamePlan,
  removal: dnsnameRemoval,
  result: dnsnameResult,
  withhold: async ({ ambient }) => !(await isAnswered(ambient)),
  collect: async (request) => collect(request),
};

/** Locked by the agent that answers, in the folder of the names. */
export const answeredLock = (folder: string) => join(folder, 'answered');

/**
 * A container that is told to ask somebody who is not there resolves no name at all: then it asks whom it would without this plugin. Its own
 * name is known all the same, once an agent runs.
 */
async function isAnswered({ paths, log }: Ambient): Promise<boolean> {
  const folder = namesFolder(paths.runDir);
  makeFolder(folder, 0o700);
  // Who asks holds the agent's lock for a moment: two who ask at once would take each other for an agent.
  const release = await lock(join(folder, 'lock'));
  try {
    const held = tryLock(answeredLock(folder));
    held?.();
    if (held === undefined) return true;
  } finally {
    release();
  }
  log(
    'no agent answers for names on this host: this container finds no other by name; run "weft agent", and start it again',
  );
  return false;
}

/** The names of containers that are gone. */
function collect({ config: { name }, valid, ambient }: GcRequest<DnsnameConf>): string[] {
  const folder = namesFolder(ambient.paths.runDir);
  const stale = filesOf(folder).filter((file) => {
    const found = readNames(file);
    const is = (id: { containerId: string; ifname: string }) =>
      id.containerId === found?.containerId && id.ifname === found.ifname;
    return found?.network === name && !valid.some(is);
  });
  for (const file of stale) fs.rmSync(file, { force: true });
  return stale.map((file) => `names ${file}`);
}

/** Whole paths; none where there is no folder. */
export function filesOf(folder: string): string[] {
  try {
    return fs
      .readdirSync(folder)
      .filter((name) => name.endsWith('.json'))
      .map((name) => join(folder, name));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}
