import type { PluginVerbs, VerbRequest } from '../../cni/plugin.ts';
import type { AttachmentId, Result } from '../../cni/types.ts';
import type { IpamNetConf, IpamRequest } from '../ipam.ts';
import { hostLocalSchema } from './config.ts';
import { addLeases, hostLocal } from './host-local.ts';
import type { HostLocalConf } from './schema.ts';

/**
 * host-local as an executable, for other people's plugins. It refuses a second ADD where the IPAM in our own plugins' process adopts:
 * such a plugin would release the running container's address when it then fails (docs/decisions/0002).
 */
export const hostLocalPlugin: PluginVerbs<HostLocalConf> = {
  type: 'host-local',
  about: 'addresses from ranges, leased in files on this host',
  config: hostLocalSchema,
  knownArgs: ['IP'],
  usesNetns: false,
  validate: (config) => hostLocal.validate(config as IpamNetConf),

  async add(request) {
    const { ips, routes, dns } = await addLeases(ipamRequest(request, request.attachment), false);
    return { interfaces: [], ips, routes, dns };
  },
  check: (request) => hostLocal.check(ipamRequest(request, request.attachment, request.prevResult)),
  del: async (request) => void (await hostLocal.del(ipamRequest(request, request.attachment))),
  gc: async (request) => void (await hostLocal.gc(withoutId(request), request.valid)),
  status: (request) => hostLocal.status(withoutId(request)),
};

function ipamRequest(
  request: VerbRequest<HostLocalConf>,
  id: AttachmentId,
  prevResult?: Result,
): IpamRequest {
  return { ...withoutId(request), id, prevResult };
}

function withoutId({ config, args, ambient }: VerbRequest<HostLocalConf>): Omit<IpamRequest, 'id'> {
  return { config: config as IpamNetConf, args, ambient };
}
