/** The portmap plugin as a plan: ports of the host lead to the container that the plugins before it wired. */
import { CniError, ErrorCode } from '../../cni/errors.ts';
import { networkOf } from '../../cni/prefix.ts';
import type { Step } from '../../plan/step.ts';
import type { ChainedInput } from '../chained.ts';
import { answerFrom, hostLinks } from '../outcome.ts';
import { publishedPorts, validateMappings } from './mappings.ts';
import type { PortmapConf } from './schema.ts';

export const BACKENDS = ['nftables', 'iptables'] as const;

const conditionsOf = ({ conditionsV4, conditionsV6 }: PortmapConf) => ({
  ...(conditionsV4?.length && { 4: conditionsV4 }),
  ...(conditionsV6?.length && { 6: conditionsV6 }),
});

/** Fields that iptables alone can do choose it. */
export function askedBackend(config: PortmapConf): 'iptables' | 'nftables' | undefined {
  if (config.backend) return config.backend;
  return config.externalSetMarkChain || Object.keys(conditionsOf(config)).length > 0 ? 'iptables' : undefined;
}

/** Throws CniError(invalidConfig) or (unsupportedField). */
export function validatePortmap(config: PortmapConf): void {
  const { backend, externalSetMarkChain, markMasqBit } = config;
  if (externalSetMarkChain && markMasqBit !== undefined) {
    throw new CniError(
      ErrorCode.invalidConfig,
      'externalSetMarkChain and markMasqBit are both set: set one of them',
    );
  }
  const forIptables = [
    ...(externalSetMarkChain ? ['externalSetMarkChain'] : []),
    ...(config.conditionsV4?.length ? ['conditionsV4'] : []),
    ...(config.conditionsV6?.length ? ['conditionsV6'] : []),
  ];
  if (backend === 'nftables' && forIptables.length > 0) {
    throw new CniError(
      ErrorCode.unsupportedField,
      `${forIptables.join(' and ')} say something in iptables' words, and backend is nftables, where a port is an element of a map: ` +
        'set backend to iptables, or remove them',
    );
  }
  validateMappings(config);
}

export function portmapPlan({ config, attachment, prevResult }: ChainedInput<PortmapConf>): Step[] {
  if (prevResult === undefined || !config.runtimeConfig?.portMappings?.length) return [];
  const { network, containerId, ifname } = attachment;
  const { ips } = answerFrom(prevResult, ifname);
  const ports = publishedPorts(config, ips);
  if (ports.length === 0) {
    throw new CniError(
      ErrorCode.invalidConfig,
      'ports are to be published, but the plugins before portmap gave the container no address',
    );
  }
  const backend = askedBackend(config);
  const { links, port } = hostLinks(prevResult);
  const sourceNat = config.masqAll ? 'always' : config.snat === false ? 'never' : 'needed';
  const conditions = conditionsOf(config);
  const localnet = sourceNat === 'never' || !ports.some(({ family }) => family === 4) ? [] : links;
  return [
    {
      kind: 'publish',
      ...{ network, containerId, ifname, ports, links, sourceNat },
      subnets: ips.map(({ address }) => networkOf(address)),
      ...(Object.keys(conditions).length > 0 && { conditions }),
      ...(config.externalSetMarkChain && { markChain: config.externalSetMarkChain }),
      ...(backend && { backend }),
      ...(port !== undefined && sourceNat !== 'never' && { hairpin: port }),
    },
    // What the host sends to itself by localhost may leave by that link; the backend's guard keeps others from sending to it.
    ...localnet.map(
      (link): Step => ({
        ...{ kind: 'sysctl', in: 'host', value: '1' },
        key: `net/ipv4/conf/${link}/route_localnet`,
      }),
    ),
  ];
}

/** Whatever the configuration says by now: what carries the attachment's mark goes, in both backends. */
export function portmapRemoval({ config, attachment, prevResult }: ChainedInput<PortmapConf>): Step[] {
  const { network, containerId, ifname } = attachment;
  const ports = () => {
    try {
      return prevResult ? publishedPorts(config, answerFrom(prevResult, ifname).ips) : [];
    } catch (error) {
      if (error instanceof CniError) return [];
      throw error;
    }
  };
  const links = prevResult ? hostLinks(prevResult).links : [];
  return BACKENDS.map((backend) => ({
    kind: 'publish',
    ...{ network, containerId, ifname, ports: ports(), links, subnets: [], sourceNat: 'needed', backend },
  }));
}
