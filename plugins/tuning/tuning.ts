/** The tuning plugin: settings of the container's namespace, and what its link is like, until DEL. */
import fs from 'node:fs';
import { join } from 'node:path';
import { configSchema } from '../../cni/config.ts';
import type { GcRequest } from '../../cni/plugin.ts';
import { validateMacArg } from '../asked-mac.ts';
import type { ChainedDefinition } from '../chained.ts';
import { askedSysctls, dataDirOf, tuningPlan, tuningRemoval, tuningResult } from './plan.ts';
import { schema, type TuningConf } from './schema.ts';
import { requireAllowed, sysctlPath } from './sysctl.ts';
import { validate } from './validate.generated.ts';

// Apart: TypeScript gives up on inferring the schema's type where a type is expected already.
const config = configSchema(schema, validate);

export const tuning: ChainedDefinition<TuningConf> = {
  type: 'tuning',
  about: 'weft tuning: settings of the container and its link',
  config,
  knownArgs: ['MAC'],
  validate(config) {
    for (const key of Object.keys(askedSysctls(config))) sysctlPath(key, 'eth0');
  },
  plan: tuningPlan,
  removal: tuningRemoval,
  result: tuningResult,
  async permit({ config, args, ambient }) {
    validateMacArg(args);
    requireAllowed(Object.keys(askedSysctls(config)), ambient);
  },
  collect: async (request) => collect(request),
};

/** What is kept for containers that are gone. */
async function collect({ config, valid, ambient }: GcRequest<TuningConf>): Promise<string[]> {
  const { readKept } = await import('../../plan/steps/tune.ts');
  const folder = dataDirOf(config, ambient.paths);
  const spared = new Set(valid.map(({ containerId, ifname }) => `${containerId}_${ifname}.json`));
  const stale = filesOf(folder).filter(
    (name) =>
      name.endsWith('.json') && !spared.has(name) && readKept(join(folder, name))?.network === config.name,
  );
  for (const name of stale) fs.rmSync(join(folder, name), { force: true });
  return stale.map((name) => `what was kept of ${name.replace(/\.json$/, '')}`);
}

function filesOf(folder: string): string[] {
  try {
    return fs.readdirSync(folder);
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return [];
    throw error;
  }
}
