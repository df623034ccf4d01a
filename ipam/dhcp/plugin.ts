import type { AttachmentRequest, PluginVerbs, VerbRequest } from '../../cni/plugin.ts';
import type { IpamNetConf, IpamRequest } from '../ipam.ts';
import { dhcpSchema } from './config.ts';
import { type DhcpHost, dhcpIpam } from './dhcp.ts';
import type { DhcpConf } from './schema.ts';

/** dhcp as an executable, for other people's plugins. */
export function dhcpPlugin(host: DhcpHost): PluginVerbs<DhcpConf> {
  const dhcp = dhcpIpam(host);
  return {
    type: 'dhcp',
    about: "addresses from the network's DHCP servers; the agent renews them",
    config: dhcpSchema,
    knownArgs: ['IP'],
    validate: (config) => dhcp.validate(config as IpamNetConf),

    async add(request) {
      const { ips, routes, dns } = await dhcp.add(withId(request));
      return { interfaces: [], ips, routes, dns };
    },
    check: (request) => dhcp.check(withId(request)),
    del: async (request) => void (await dhcp.del(withId(request))),
    gc: async (request) => void (await dhcp.gc(withoutId(request), request.valid)),
    status: (request) => dhcp.status(withoutId(request)),
  };
}

function withId(request: AttachmentRequest<DhcpConf>): IpamRequest {
  const { attachment, prevResult } = request;
  const { containerId, ifname, netns } = attachment;
  return { ...withoutId(request), id: { containerId, ifname }, netns, prevResult };
}

function withoutId({ config, args, ambient }: VerbRequest<DhcpConf>): Omit<IpamRequest, 'id'> {
  return { config: config as IpamNetConf, args, ambient };
}
