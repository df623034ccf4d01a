/** The firewall plugin: containers are let through on hosts that forward nothing by themselves, and networks kept apart. */
import { configSchema } from '../../cni/config.ts';
import type { ChainedDefinition } from '../chained.ts';
import {
  addressesOf,
  firewallPlan,
  firewallRemoval,
  validateFirewall,
  wantedPlaces,
  zoneOf,
} from './plan.ts';
import { type FirewallConf, schema } from './schema.ts';
import { validate } from './validate.generated.ts';

// Apart: TypeScript gives up on inferring the schema's type where a type is expected already.
const config = configSchema(schema, validate);

export const firewall: ChainedDefinition<FirewallConf> = {
  type: 'firewall',
  about: 'weft firewall: lets containers through, keeps networks apart',
  config,
  knownArgs: [],
  validate: validateFirewall,
  plan: firewallPlan,
  removal: firewallRemoval,
  async madeElsewhere({ config, attachment, prevResult }, session) {
    if (config.ingressPolicy && config.ingressPolicy !== 'open') return false;
    const addresses = addressesOf({ attachment, prevResult });
    return await (await session.forward()).madeByReference({ addresses, ...zoneOf(config) });
  },
  async collect({ config, valid }, session) {
    return await (await session.forward()).collect(config.name, valid);
  },
  async ready(conf, session) {
    await (await session.forward()).probe(wantedPlaces(conf));
  },
};
