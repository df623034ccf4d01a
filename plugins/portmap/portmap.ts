/** The portmap plugin: publishes ports of the host that runtimes ask for by the capability portMappings. */
import { configSchema } from '../../cni/config.ts';
import type { ChainedDefinition } from '../chained.ts';
import { refuseHeld } from './held.ts';
import { askedBackend, BACKENDS, portmapPlan, portmapRemoval, validatePortmap } from './plan.ts';
import { type PortmapConf, schema } from './schema.ts';
import { validate } from './validate.generated.ts';

// Apart: TypeScript gives up on inferring the schema's type where a type is expected already.
const config = configSchema(schema, validate);

export const portmap: ChainedDefinition<PortmapConf> = {
  type: 'portmap',
  about: 'weft portmap: publishes ports of the host',
  config,
  knownArgs: [],
  validate: validatePortmap,
  permit: refuseHeld,
  plan: portmapPlan,
  removal: portmapRemoval,
  async removeDebris({ attachment, ambient }, { host }) {
    const { removeReferenceDebris } = await import('../../firewall/debris.ts');
    await removeReferenceDebris(host, ambient, attachment);
  },
  async madeElsewhere({ attachment }, { host }) {
    const { referenceChains } = await import('../../firewall/debris.ts');
    const { whereChains } = await import('../../firewall/xtables.ts');
    const [, chain = ''] = await referenceChains(attachment.network, attachment.containerId);
    return (await whereChains(host, [chain])).length > 0;
  },
  async collect({ config, valid }, session) {
    // The configuration may have said another backend when ADD came.
    const removed: string[] = [];
    for (const name of BACKENDS)
      removed.push(...(await (await session.ports(name)).collect(config.name, valid)));
    return removed;
  },
  async ready(config, session) {
    await (await session.ports(askedBackend(config))).probe();
  },
};
