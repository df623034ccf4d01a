import type { PluginVerbs, VerbRequest } from '../../cni/plugin.ts';
import type { AttachmentId, Result } from '../../cni/types.ts';
import type { IpamNetConf, IpamRequest } from '../ipam.ts';
import { staticSchema } from './config.ts';
import type { StaticConf } from './schema.ts';
import { staticIpam } from './static.ts';

/** static as an executable, for other people's plugins. */
export const staticPlugin: PluginVerbs<StaticConf> = {
  type: 'static',
  about: 'addresses that stand in the configuration or come from the runtime',
  config: staticSchema,
  knownArgs: ['IP', 'GATEWAY'],
  usesNetns: false,
  validate: (config) => staticIpam.validate(config as IpamNetConf),

  async add(request) {
    const { ips, routes, dns } = await staticIpam.add(ipamRequest(request, request.attachment));
    return { interfaces: [], ips, routes, dns };
  },
  check: (request) => staticIpam.check(ipamRequest(request, request.attachment, request.prevResult)),
  del: async () => {},
  gc: async () => {},
  status: ({ config, args, ambient }) => staticIpam.status({ config: config as IpamNetConf, args, ambient }),
};

function ipamRequest(
  { config, args, ambient }: VerbRequest<StaticConf>,
  id: AttachmentId,
  prevResult?: Result,
): IpamRequest {
  return { config: config as IpamNetConf, args, ambient, id, prevResult };
}
