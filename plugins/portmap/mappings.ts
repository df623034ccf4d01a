/** What a runtime asks for as port mappings, and what that is for one container. */
import { CniError, ErrorCode } from '../../cni/errors.ts';
import { addressOf, canonical, familyOf, parseAddress } from '../../cni/prefix.ts';
import type { IpConfig } from '../../cni/types.ts';
import { PROTOCOLS, type Protocol, type PublishedPort, portWords } from '../../firewall/ports.ts';
import type { PortmapConf } from './schema.ts';

type Mapping = NonNullable<NonNullable<PortmapConf['runtimeConfig']>['portMappings']>[number];

const ANY = { 4: '0.0.0.0', 6: '::' } as const;

const refuse = (where: string, found: unknown, wanted: string) =>
  new CniError(ErrorCode.invalidConfig, `${where} is ${JSON.stringify(found)}, wanted ${wanted}`);

const isProtocol = (text: string): text is Protocol => text in PROTOCOLS;

/** Throws CniError(invalidConfig), naming the field. */
function read({ hostPort, containerPort, protocol, hostIP }: Mapping, where: string) {
  // Kubernetes writes TCP; a container without one means TCP.
  const kind = (protocol || 'tcp').toLowerCase();
  if (!isProtocol(kind)) throw refuse(`${where}.protocol`, protocol, Object.keys(PROTOCOLS).join(', '));
  for (const [field, port] of Object.entries({ hostPort, containerPort })) {
    if (port < 1) throw refuse(`${where}.${field}`, port, 'a port from 1 to 65535');
  }
  if (hostIP && parseAddress(hostIP) === undefined) {
    throw refuse(`${where}.hostIP`, hostIP, 'an IPv4 or IPv6 address without prefix length, or none');
  }
  const address = hostIP ? canonical(hostIP) : undefined;
  return { protocol: kind, hostPort, containerPort, address };
}

function readAll(config: PortmapConf) {
  return (config.runtimeConfig?.portMappings ?? []).map((mapping, i) =>
    read(mapping, `runtimeConfig.portMappings[${i}]`),
  );
}

/** Throws CniError(invalidConfig). */
export function validateMappings(config: PortmapConf): void {
  const seen = new Map<string, number>();
  readAll(config).forEach(({ protocol, hostPort, address }, i) => {
    const key = `${protocol} ${address ?? ''} ${hostPort}`;
    const before = seen.get(key);
    if (before !== undefined) {
      throw new CniError(
        ErrorCode.invalidConfig,
        `runtimeConfig.portMappings[${i}] and [${before}] both want ${protocol} port ${hostPort} of the host: it can lead to one port only`,
      );
    }
    seen.set(key, i);
  });
}

/**
 * The ports of one container: its first address of each family. A mapping without hostIP, or with 0.0.0.0 or ::, is about all of the host's
 * addresses. Throws CniError(invalidConfig) when a hostIP is of a family that the container has no address of.
 */
export function publishedPorts(config: PortmapConf, ips: readonly IpConfig[]): PublishedPort[] {
  const addresses = ([4, 6] as const).flatMap((family) => {
    const found = ips.find(({ address }) => familyOf(address) === family);
    return found ? [{ family, address: canonical(addressOf(found.address)) }] : [];
  });
  const ports = readAll(config).flatMap(({ address, ...mapping }, i) => {
    const asked = address === undefined ? undefined : familyOf(address);
    const fitting = addresses.filter(({ family }) => asked === undefined || family === asked);
    if (fitting.length === 0 && addresses.length > 0 && address !== ANY[asked ?? 4]) {
      throw refuse(
        `runtimeConfig.portMappings[${i}].hostIP`,
        address,
        `an IPv${addresses[0]?.family} address: the container has no IPv${asked} address`,
      );
    }
    return fitting.map(
      ({ family, address: container }): PublishedPort => ({
        ...{ ...mapping, family, address: container },
        ...(address !== undefined && address !== ANY[family] && { hostAddress: address }),
      }),
    );
  });
  return dropRepeated(ports);
}

/** `` and `0.0.0.0` say the same of IPv4. */
function dropRepeated(ports: readonly PublishedPort[]): PublishedPort[] {
  return [...new Map(ports.map((port) => [`${port.family} ${portWords(port)}`, port])).values()];
}
