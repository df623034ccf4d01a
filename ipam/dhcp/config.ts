import { configSchema } from '../../cni/config.ts';
import { CniError, ErrorCode } from '../../cni/errors.ts';
import type { AttachmentId } from '../../cni/types.ts';
import { askedAddresses } from '../asked.ts';
import type { IpamNetConf } from '../ipam.ts';
import { readConfig } from '../read-config.ts';
import type { Identity } from './client.ts';
import { OPTION } from './message.ts';
import { schema } from './schema.ts';
import { validate } from './validate.generated.ts';

export const dhcpSchema = configSchema(schema, validate);

export interface DhcpWishes {
  identity: Identity;
  /** This address and no other; dotted. */
  only: string | undefined;
  /** For all routes. */
  priority: number | undefined;
}

/** The names that the reference knows, and those of what we ask for. */
const NAMES: Readonly<Record<string, number>> = {
  'dhcp-client-identifier': OPTION.clientId,
  'subnet-mask': OPTION.subnetMask,
  routers: OPTION.routers,
  'host-name': OPTION.hostName,
  'user-class': OPTION.userClass,
  'vendor-class-identifier': OPTION.vendorClass,
  'domain-name': OPTION.domainName,
  'domain-name-servers': OPTION.nameServers,
  'interface-mtu': OPTION.mtu,
  'static-routes': OPTION.staticRoutes,
  'classless-static-routes': OPTION.classlessRoutes,
};

/** Classless routes first, then routers, then static routes, as RFC 3442 wants it. */
const DEFAULTS = [
  OPTION.subnetMask,
  OPTION.classlessRoutes,
  OPTION.routers,
  OPTION.staticRoutes,
  OPTION.nameServers,
  OPTION.domainName,
  OPTION.mtu,
];

/** Without these no lease can be used, or kept. */
const NEEDED = [OPTION.subnetMask, OPTION.leaseTime, OPTION.renewalTime, OPTION.rebindingTime];

/** What the protocol itself sets. */
const OWN: readonly number[] = [
  OPTION.requestedAddress,
  OPTION.overload,
  OPTION.messageType,
  OPTION.server,
  OPTION.parameters,
  OPTION.maximumSize,
];

/** Bytes of one option. */
const LONGEST = 255;

/**
 * What the configuration and the runtime ask for. Pure. Throws CniError(invalidConfig or invalidEnvironment).
 * @param id undefined: only looks whether all of it can be meant
 */
export function readDhcp(
  config: IpamNetConf,
  args: Readonly<Record<string, string>>,
  id?: AttachmentId,
): DhcpWishes {
  const conf = readConfig(dhcpSchema, config);
  const { request = [], provide = [], priority } = conf.ipam;
  const requested = new Set<number>(request.some(({ skipDefault }) => skipDefault) ? [] : DEFAULTS);
  for (const [n, { option }] of request.entries()) {
    if (option !== undefined && option !== '') requested.add(numberOf(option, `ipam.request[${n}].option`));
  }
  for (const option of NEEDED) requested.add(option);
  const provided = new Map<number, Uint8Array>();
  if (id) provided.set(OPTION.clientId, clientId(`${id.containerId}/${conf.name}/${id.ifname}`));
  for (const [n, { option, value, fromArg }] of provide.entries()) {
    const field = `ipam.provide[${n}]`;
    const code = numberOf(option, `${field}.option`);
    if (OWN.includes(code)) {
      throw new CniError(
        ErrorCode.invalidConfig,
        `${field}.option: option ${code} is the protocol's own, wanted another`,
      );
    }
    const found = (fromArg ? args[fromArg] : undefined) || value;
    if (!found) continue;
    const bytes = code === OPTION.clientId ? clientId(found) : new TextEncoder().encode(found);
    if (bytes.length > LONGEST) {
      throw new CniError(
        ErrorCode.invalidConfig,
        `${field}: found ${bytes.length} bytes, wanted at most ${LONGEST}`,
      );
    }
    provided.set(code, bytes);
  }
  return { identity: { provided, requested: [...requested] }, only: onlyOf(conf, args), priority };
}

function numberOf(option: string | number, field: string): number {
  const number = NAMES[option] ?? (/^\d{1,3}$/.test(`${option}`) ? Number(option) : 0);
  if (number >= 1 && number <= 254) return number;
  throw new CniError(
    ErrorCode.invalidConfig,
    `${field}: found ${JSON.stringify(option)}, wanted a number from 1 to 254, or one of ${Object.keys(NAMES).join(', ')}`,
  );
}

/** Type 0: no hardware address (RFC 2132, section 9.14; RFC 4361). Cut where the reference cuts it. */
function clientId(text: string): Uint8Array {
  return Uint8Array.of(0, ...new TextEncoder().encode(text).subarray(0, LONGEST - 1));
}

/** The address asked for. DHCP gives one, of IPv4: another family's is left to who else is asked. */
function onlyOf(
  conf: Parameters<typeof askedAddresses>[0],
  args: Readonly<Record<string, string>>,
): string | undefined {
  const asked = askedAddresses(conf, args);
  const foreign = asked.find(({ address }) => address.family !== 4);
  if (foreign || asked.length > 1) {
    const found = asked.map(({ text }) => text).join(', ');
    throw new CniError(
      ErrorCode.invalidConfig,
      `${(foreign ?? asked[1])?.field}: found ${found}, wanted at most one address, of IPv4: dhcp asks for no other`,
    );
  }
  return asked[0]?.text;
}
