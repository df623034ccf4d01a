/** A plugin's IPAM: our own in this process, any other executed as the specification says (SPEC 1.1, section 4). */
import type { AttachmentRequest, GcRequest, VerbRequest } from '../cni/plugin.ts';
import type { AttachmentId } from '../cni/types.ts';
import type { Ipam, IpamNetConf, IpamRequest, IpamResult } from '../ipam/ipam.ts';
import type { PluginConf } from './definition.ts';
import { ASKED_FOR_ADDRESSES } from './not-ipam.ts';

export interface AddressManagement {
  readonly type: string;
  /** Asks for an address by means of the container's link, and gives it back so: the link is there before and after (dhcp). */
  readonly needsLink: boolean;
  /** Throws CniError(invalidConfig) before anything is touched, where that can be known. */
  validate(): void;
  add(request: AttachmentRequest<PluginConf>): Promise<IpamResult>;
  check(request: AttachmentRequest<PluginConf>): Promise<void>;
  del(request: AttachmentRequest<PluginConf>): Promise<void>;
  /** After a failed ADD: gives back what this ADD took. `answer` is what `add` returned; undefined when it threw. */
  undo(request: AttachmentRequest<PluginConf>, answer: IpamResult | undefined): Promise<void>;
  gc(request: GcRequest<PluginConf>): Promise<void>;
  status(request: VerbRequest<PluginConf>): Promise<void>;
}

function ipamRequest(request: VerbRequest<PluginConf>): Omit<IpamRequest, 'id'> {
  const { config, args, ambient } = request;
  return { config: config as IpamNetConf, args, ambient };
}

function attachmentRequest(request: AttachmentRequest<PluginConf>): IpamRequest {
  const { containerId, ifname, netns } = request.attachment;
  const id: AttachmentId = { containerId, ifname };
  return {
    ...ipamRequest(request),
    id,
    netns,
    ...(request.prevResult && { prevResult: request.prevResult }),
  };
}

function own(ipam: Ipam, config: PluginConf, needsLink = false): AddressManagement {
  return {
    type: ipam.type,
    needsLink,
    validate: () => ipam.validate(config as IpamNetConf),
    add: (request) => ipam.add(attachmentRequest(request)),
    check: (request) => ipam.check(attachmentRequest(request)),
    async del(request) {
      await ipam.del(attachmentRequest(request));
    },
    async undo(request, answer) {
      // An add that threw took nothing; what it adopted may be a running container's (docs/decisions/0002).
      if (answer && !answer.adopted) await ipam.del(attachmentRequest(request));
    },
    async gc(request) {
      await ipam.gc(ipamRequest(request), request.valid);
    },
    status: (request) => ipam.status(ipamRequest(request)),
  };
}

/** What is executed knows that it is asked for addresses; see plugins/not-ipam.ts. */
function asking<R extends VerbRequest<PluginConf>>(request: R): R {
  const { ambient } = request;
  return { ...request, ambient: { ...ambient, env: { ...ambient.env, [ASKED_FOR_ADDRESSES]: '1' } } };
}

async function executed(type: string): Promise<AddressManagement> {
  const delegate = await import('../cni/delegate.ts');
  const { assertProgramName, isProgramName } = await import('../cni/invoke.ts');
  // What can be no program has given no address: there is nothing to take back.
  const release = async (request: AttachmentRequest<PluginConf>) => {
    if (isProgramName(type)) await delegate.delegateDel(type, asking(request));
  };
  return {
    type,
    needsLink: false,
    validate: () => assertProgramName(type),
    async add(request) {
      const { ips, routes, dns } = await delegate.delegateAdd(type, asking(request));
      // An IPAM result has no interfaces, so an index into them means nothing (SPEC 1.1, section 5).
      return { ips: ips.map(({ interface: _, ...ip }) => ip), routes, dns };
    },
    check: (request) => delegate.delegateCheck(type, asking(request)),
    del: release,
    // Nobody knows how far a program came that failed, so it gets its DEL in any case (SPEC 1.1, section 4).
    undo: release,
    async gc(request) {
      if (isProgramName(type)) await delegate.delegateGc(type, asking(request));
    },
    status: (request) => delegate.delegateStatus(type, asking(request)),
  };
}

/** Undefined where the configuration has none: a network of layer 2. */
export async function addressManagement(config: PluginConf): Promise<AddressManagement | undefined> {
  const type = config.ipam?.type;
  if (!type) return undefined;
  if (type === 'dhcp') {
    const { dhcpIpam } = await import('../ipam/dhcp/dhcp.ts');
    const { dhcpHost } = await import('./dhcp-host.ts');
    return own(dhcpIpam(dhcpHost()), config, true);
  }
  const { ownIpam } = await import('../ipam/registry.ts');
  const ipam = await ownIpam(type);
  return ipam ? own(ipam, config) : await executed(type);
}
