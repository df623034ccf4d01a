import { configSchema } from '../../cni/config.ts';
import { CniError, ErrorCode } from '../../cni/errors.ts';
import {
  contains,
  formatAddress,
  formatPrefix,
  type Prefix,
  parseAddress,
  parsePrefix,
} from '../../cni/prefix.ts';
import type { Dns, IpConfig, Route } from '../../cni/types.ts';
import { askedSources, splitList } from '../asked.ts';
import type { IpamNetConf } from '../ipam.ts';
import { checkAddressCount, readConfig } from '../read-config.ts';
import { readRoutes } from '../routes.ts';
import { schema } from './schema.ts';
import { validate } from './validate.generated.ts';

export const staticSchema = configSchema(schema, validate);

export interface StaticResult {
  ips: IpConfig[];
  routes: Route[];
  dns: Dns;
}

interface StaticAddress {
  prefix: Prefix;
  gateway: string | undefined;
}

/**
 * What static answers. Addresses that the runtime asks for take the place of the configured ones, the weightiest way
 * of asking that was used counts (runtimeConfig, then args, then CNI_ARGS); a configured address that is asked for again
 * keeps its gateway. Pure. Throws CniError(invalidConfig or invalidEnvironment).
 */
export function readStatic(config: IpamNetConf, args: Readonly<Record<string, string>>): StaticResult {
  const conf = readConfig(staticSchema, config);
  const configured = (conf.ipam.addresses ?? []).map(({ address, gateway }, n) => {
    const field = `ipam.addresses[${n}]`;
    return {
      prefix: readPrefix(address, `${field}.address`, ErrorCode.invalidConfig),
      gateway: gateway ? readGateway(gateway, `${field}.gateway`, address) : undefined,
    };
  });
  const asked = askedSources(conf, args).findLast(({ texts }) => texts.length > 0);
  const addresses =
    asked === undefined
      ? configured
      : asked.texts.map((text) => {
          const prefix = readPrefix(text, asked.field, asked.code);
          const same = configured.find((one) => formatPrefix(one.prefix) === formatPrefix(prefix));
          return { prefix, gateway: same?.gateway };
        });
  checkAddressCount(
    conf.cniVersion,
    addresses.map(({ prefix }) => prefix.address.family),
  );
  return {
    ips: withGateways(addresses, args).map(toIpConfig),
    routes: readRoutes(conf.ipam.routes ?? []),
    dns: conf.ipam.dns ?? {},
  };
}

/** CNI_ARGS `GATEWAY` is the gateway of the addresses whose subnet it lies in. */
function withGateways(
  addresses: readonly StaticAddress[],
  args: Readonly<Record<string, string>>,
): StaticAddress[] {
  const gateways = splitList(args.GATEWAY).map((text) => {
    const address = parseAddress(text);
    if (address !== undefined) return address;
    throw new CniError(
      ErrorCode.invalidEnvironment,
      `CNI_ARGS GATEWAY: wanted an IPv4 or IPv6 address, found ${JSON.stringify(text)}`,
    );
  });
  return addresses.map((one) => {
    const gateway = gateways.findLast((candidate) => contains(one.prefix, candidate));
    return gateway === undefined ? one : { ...one, gateway: formatAddress(gateway) };
  });
}

function toIpConfig({ prefix, gateway }: StaticAddress): IpConfig {
  return { address: formatPrefix(prefix), ...(gateway === undefined ? {} : { gateway }) };
}

function readPrefix(text: string, field: string, code: number): Prefix {
  const prefix = parsePrefix(text);
  if (prefix !== undefined) return prefix;
  throw new CniError(
    code,
    `${field}: wanted an address with prefix length such as 10.1.0.5/24, found ${JSON.stringify(text)}`,
  );
}

/** `address` is whose gateway it is. */
function readGateway(text: string, field: string, address: string): string {
  const gateway = parseAddress(text);
  const found = `found ${JSON.stringify(text)}`;
  if (gateway === undefined) {
    throw new CniError(ErrorCode.invalidConfig, `${field}: wanted an IPv4 or IPv6 address, ${found}`);
  }
  if (gateway.family !== parsePrefix(address)?.address.family) {
    throw new CniError(
      ErrorCode.invalidConfig,
      `${field}: wanted an address of the family of ${address}, ${found}`,
    );
  }
  return formatAddress(gateway);
}
