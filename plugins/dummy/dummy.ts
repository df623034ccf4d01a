import { configSchema } from '../../cni/config.ts';
import { CniError, ErrorCode } from '../../cni/errors.ts';
import { linkMac } from '../../plan/names.ts';
import { requireKind } from '../../plan/steps/inside-link.ts';
import type { Definition } from '../definition.ts';
import { aliasOf, insideAddresses, insideAnswer } from '../inside-link.ts';
import { type DummyConf, schema } from './schema.ts';
import { validate } from './validate.generated.ts';

// Apart: TypeScript gives up on inferring the schema's type where a type is expected already.
const config = configSchema(schema, validate);

export const dummy: Definition<DummyConf> = {
  type: 'dummy',
  about: 'weft dummy: gives each container addresses on a link that leads nowhere',
  config,
  knownArgs: ['IP', 'GATEWAY'],
  validate(config) {
    if (config.ipam?.type) return;
    throw new CniError(
      ErrorCode.invalidConfig,
      'dummy needs ipam.type: addresses are all that the link is for',
    );
  },
  links: ({ attachment }) => [
    {
      kind: 'dummy',
      in: 'container',
      name: attachment.ifname,
      mac: linkMac(attachment.network, attachment, 'container'),
      up: true,
      alias: aliasOf(attachment),
    },
  ],
  complete: insideAnswer,
  addresses: ({ attachment }, answer) => insideAddresses(attachment.ifname, answer, { by: 'nothing' }),
  ready: (_, { host }) => requireKind(host, 'dummy'),
};
