/**
 * The vxlan plugin as a plan: what bridge does, on the part of the network that this host holds. The device between the hosts, its neighbours
 * and its routes are the agent's: they do not come and go with containers.
 */
import { addressOf, familyOf } from '../../cni/prefix.ts';
import type { IpamResult } from '../../ipam/ipam.ts';
import { networkMac } from '../../plan/names.ts';
import type { Step } from '../../plan/step.ts';
import { masquerade } from '../addressing.ts';
import { askedMac } from '../asked-mac.ts';
import { bridgeAddresses, bridgeAnswer, bridgeLinks, validateBridge } from '../bridge/plan.ts';
import type { BridgeConf } from '../bridge/schema.ts';
import type { PlanInput } from '../definition.ts';
import { bridgeOf, clusterNetwork, isL2 } from './network.ts';
import type { VxlanConf } from './schema.ts';

export function validateVxlan(config: VxlanConf): void {
  clusterNetwork(config);
  validateBridge(bridgeConf(config));
}

/** The same container as plugins/bridge sees it; masquerade is ours, because it excepts the whole network. */
function bridgeConf(config: VxlanConf): BridgeConf {
  const { cniVersion, name, type, ipam, args, runtimeConfig, mtu, hairpinMode, macspoofchk } = config;
  return {
    ...{ cniVersion, name, type, bridge: bridgeOf(config) },
    ...{ isGateway: true, isDefaultGateway: config.isDefaultGateway ?? true },
    ...(ipam && { ipam }),
    ...(args && { args }),
    ...(runtimeConfig && { runtimeConfig }),
    ...(mtu !== undefined && { mtu }),
    ...(hairpinMode !== undefined && { hairpinMode }),
    ...(macspoofchk !== undefined && { macspoofchk }),
  };
}

export const poolsOf = (config: VxlanConf) => clusterNetwork(config).pools.map(({ prefix }) => prefix);

/**
 * On a stretched subnet a container keeps its MAC when it keeps its address: neighbours need not learn it anew. Elsewhere, and before the
 * address is known, it is that of the attachment.
 */
function bridgeInput(input: PlanInput<VxlanConf>, answer: IpamResult | undefined): PlanInput<BridgeConf> {
  const { config, args, attachment } = input;
  const conf = bridgeConf(config);
  const [first] = answer?.ips ?? [];
  if (!isL2(config) || first === undefined) return { ...input, config: conf };
  const mac = askedMac(config, args) ?? networkMac(attachment.network, addressOf(first.address));
  return { ...input, config: { ...conf, runtimeConfig: { ...conf.runtimeConfig, mac } } };
}

export function vxlanLinks(input: PlanInput<VxlanConf>, answer?: IpamResult): Step[] {
  const links = bridgeLinks(bridgeInput(input, answer));
  if (!isL2(input.config)) return links;
  const mac = networkMac(input.attachment.network, 'gateway');
  return links.map((step) => (step.kind === 'bridge' ? { ...step, mac } : step));
}

/** Gateways and the default route as bridge has them; containers of other hosts go by the gateway too, whoever has the default route. */
export function vxlanAnswer(config: VxlanConf, ipam: IpamResult): IpamResult {
  const answer = bridgeAnswer(bridgeConf(config), ipam);
  if (isL2(config)) return answer;
  const known = new Set(answer.routes.map(({ dst }) => dst));
  const routes = poolsOf(config).flatMap((prefix) => {
    const via = answer.ips.find(({ address }) => familyOf(address) === familyOf(prefix));
    return via?.gateway && !known.has(prefix) ? [{ dst: prefix, gw: via.gateway }] : [];
  });
  return { ...answer, routes: [...answer.routes, ...routes] };
}

export function vxlanAddresses(input: PlanInput<VxlanConf>, answer: IpamResult): Step[] {
  const { config, attachment } = input;
  // When the host comes to hold another subnet, containers of the one before still have their gateway.
  const steps = bridgeAddresses(bridgeInput(input, answer), answer).map(
    (step): Step => (step.kind === 'address' && step.shared ? { ...step, shared: 'beside' } : step),
  );
  if (!(config.ipMasq ?? true) || answer.ips.length === 0) return steps;
  return [...steps, masquerade(attachment, answer.ips, config.ipMasqBackend, poolsOf(config))];
}
