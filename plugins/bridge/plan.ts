/** The bridge plugin as a plan: a veth pair per container, its host end a port of a bridge. */
import { linkNameFault } from '../../cni/environment.ts';
import { CniError, ErrorCode } from '../../cni/errors.ts';
import { canonical, defaultRoute, familyOf, firstAddress, lengthOf, overlap } from '../../cni/prefix.ts';
import type { Attachment, IpConfig } from '../../cni/types.ts';
import type { IpamResult } from '../../ipam/ipam.ts';
import { bridgeMac, hostLinkAlias, hostLinkName, linkMac } from '../../plan/names.ts';
import type { PortOptions, Step } from '../../plan/step.ts';
import {
  announce,
  checkAddresses,
  containerRoutes,
  forwarding,
  masquerade,
  refuseOwnGateway,
  requireAddresses,
  requireMtu,
} from '../addressing.ts';
import { askedMac } from '../asked-mac.ts';
import type { PlanInput } from '../definition.ts';
import type { BridgeConf } from './schema.ts';

export const bridgeName = (config: BridgeConf) => config.bridge ?? 'cni0';
export const isGateway = (config: BridgeConf) => Boolean(config.isGateway || config.isDefaultGateway);
/** On every IPv6 link, whatever its subnet (RFC 4291, section 2.5.6). */
const isLinkLocal = (address: string) => overlap(address, 'fe80::/10');
/** What carries the gateway's addresses: the bridge, or a link of its own in the VLAN. */
export const gatewayLink = (config: BridgeConf) =>
  config.vlan && isGateway(config) ? `${bridgeName(config)}.${config.vlan}` : bridgeName(config);
const usesVlans = (config: BridgeConf) => Boolean(config.vlan || config.vlanTrunk?.length);

/** IFNAMSIZ - 1. */
const LONGEST_NAME = 15;

const refuse = (message: string) => new CniError(ErrorCode.invalidConfig, message);

/** Fields that do not fit each other. Throws CniError(invalidConfig) or (unsupportedField). */
export function validateBridge(config: BridgeConf): void {
  const fault = linkNameFault(bridgeName(config));
  if (fault !== undefined) throw refuse(`bridge ${fault}`);
  if (config.hairpinMode && config.promiscMode) {
    throw refuse('hairpinMode and promiscMode are both true: set one of them');
  }
  if (config.vlan && config.vlanTrunk?.length) {
    throw refuse('vlan and vlanTrunk are both set: a port is in one VLAN or is a trunk');
  }
  if (gatewayLink(config).length > LONGEST_NAME) {
    throw refuse(
      `the gateway's link would be ${gatewayLink(config)}, and a link's name has at most ${LONGEST_NAME} characters: ` +
        'choose a shorter name for the bridge',
    );
  }
  if (config.disableContainerInterface && config.ipam?.type) {
    throw refuse(
      'disableContainerInterface is true, so ipam cannot be set: an address needs a link that is up',
    );
  }
  trunkRanges(config);
}

/** `{minID, maxID}` and `{id}` in one shape. Throws CniError(invalidConfig), naming the entry. */
function trunkRanges(config: BridgeConf): { min: number; max: number }[] {
  return (config.vlanTrunk ?? []).flatMap((entry, i) => {
    const { minID, maxID, id } = entry;
    const where = `vlanTrunk[${i}]`;
    if ((minID === undefined) !== (maxID === undefined)) throw refuse(`${where} needs both minID and maxID`);
    if (minID !== undefined && maxID !== undefined && minID > maxID) {
      throw refuse(`${where}.minID ${minID} is greater than maxID ${maxID}`);
    }
    if (minID === undefined && id === undefined) throw refuse(`${where} has neither id nor minID and maxID`);
    const range = minID !== undefined && maxID !== undefined ? [{ min: minID, max: maxID }] : [];
    const single = id !== undefined ? [{ min: id, max: id }] : [];
    if ([...range, ...single].some(({ min }) => min === 0))
      throw refuse(`${where} has VLAN 0, wanted 1 to 4094`);
    return [...range, ...single];
  });
}

function portOptions(config: BridgeConf): PortOptions {
  const trunks = trunkRanges(config);
  return {
    ...(config.hairpinMode && { hairpin: true }),
    ...(config.portIsolation && { isolated: true }),
    ...(config.vlan && { vlan: config.vlan }),
    ...(trunks.length > 0 && { trunks }),
    ...(usesVlans(config) && config.preserveDefaultVlan === false && { dropDefaultVlan: true }),
  };
}

function containerMac({ config, args, attachment }: PlanInput<BridgeConf>): string {
  return askedMac(config, args) ?? linkMac(attachment.network, attachment, 'container');
}

function macFilter({ network, containerId, ifname }: Attachment, dev: string, mac: string): Step {
  return { kind: 'mac-filter', network, containerId, ifname, dev, mac };
}

export function bridgeLinks(input: PlanInput<BridgeConf>): Step[] {
  const { config, attachment, hostId } = input;
  const { network, ifname } = attachment;
  const mtu = config.mtu ? { mtu: config.mtu } : {};
  const port = portOptions(config);
  const name = bridgeName(config);
  const hostName = hostLinkName(network, attachment);
  const insideMac = containerMac(input);
  return [
    {
      kind: 'bridge',
      name,
      mac: bridgeMac(hostId, name),
      ...mtu,
      ...(config.promiscMode && { promisc: true }),
      ...(usesVlans(config) && { vlanFiltering: true }),
    },
    ...(config.macspoofchk ? [macFilter(attachment, hostName, insideMac)] : []),
    {
      kind: 'veth',
      host: {
        name: hostName,
        mac: linkMac(network, attachment, 'host'),
        alias: hostLinkAlias(network, attachment),
        master: name,
      },
      inside: { name: ifname, mac: insideMac, up: !config.disableContainerInterface },
      ...mtu,
      ...(Object.keys(port).length > 0 && { port }),
    },
  ];
}

/** Gateways and default routes that the configuration asks for and IPAM did not give. */
export function bridgeAnswer(config: BridgeConf, ipam: IpamResult): IpamResult {
  requireMtu(config.type, config.mtu, ipam.ips);
  checkAddresses(config.type, ipam.ips);
  if (!isGateway(config)) return ipam;
  requireAddresses(config.type, ipam, 'isGateway needs one');
  const ips = ipam.ips.map((ip) => ({ ...ip, gateway: ip.gateway ?? firstAddress(ip.address) }));
  refuseOwnGateway(config.type, ips);
  const outside = ips.find(({ address, gateway }) => !overlap(gateway, address) && !isLinkLocal(gateway));
  if (outside) {
    throw refuse(
      `isGateway is true, but the gateway ${outside.gateway} is not in the subnet of ${outside.address}: ` +
        'the container could not reach it',
    );
  }
  if (!config.isDefaultGateway) return { ...ipam, ips };
  const routes = [...ipam.routes];
  for (const { address, gateway } of ips) {
    const dst = defaultRoute(familyOf(address));
    if (!routes.some((route) => canonical(route.dst) === dst)) routes.push({ dst, gw: gateway });
  }
  return { ...ipam, ips, routes };
}

function gatewaySteps(config: BridgeConf, ips: readonly IpConfig[]): Step[] {
  const [bridge, dev] = [bridgeName(config), gatewayLink(config)];
  const addresses = ips.flatMap(({ address, gateway }) =>
    gateway ? [`${canonical(gateway)}/${lengthOf(address)}`] : [],
  );
  return [
    ...(config.vlan && dev !== bridge ? [{ kind: 'vlan', name: dev, bridge, id: config.vlan } as const] : []),
    ...[...new Set(addresses)].map(
      (address): Step => ({
        ...{ kind: 'address', in: 'host', dev, address },
        shared: config.forceAddress ? 'replace' : 'refuse',
      }),
    ),
  ];
}

export function bridgeAddresses(input: PlanInput<BridgeConf>, answer: IpamResult): Step[] {
  const { config, attachment } = input;
  const { ips } = answer;
  const dev = attachment.ifname;
  const inside: Step[] = ips.map(({ address }) => ({
    kind: 'address',
    in: 'container',
    dev,
    address,
    ...(config.enabledad && familyOf(address) === 6 && { dad: true }),
  }));
  return [
    ...(isGateway(config) ? [...gatewaySteps(config, ips), ...forwarding(ips)] : []),
    ...inside,
    ...containerRoutes(dev, answer),
    ...(config.ipMasq && ips.length > 0 ? [masquerade(attachment, ips, config.ipMasqBackend)] : []),
    ...(ips.length > 0 ? [announce(dev, containerMac(input), ips)] : []),
  ];
}
