/** Addresses and prefixes as the firewall compares them: one spelling per address. */
import ipaddr from 'ipaddr.js';
import { CniError, ErrorCode } from '../cni/errors.ts';

export type IpFamily = 4 | 6;

export const MULTICAST: Readonly<Record<IpFamily, string>> = { 4: '224.0.0.0/4', 6: 'ff00::/8' };

export interface Source {
  family: IpFamily;
  /** As the kernel's tools print it (RFC 5952 for IPv6). */
  address: string;
}

/** The library's own choice tries IPv6 first: an exception, and so a stack trace, for each IPv4 text. */
function readerOf(text: string): typeof ipaddr.IPv4 | typeof ipaddr.IPv6 {
  return text.includes(':') ? ipaddr.IPv6 : ipaddr.IPv4;
}

/** Reads addresses without prefix length; throws CniError(invalidConfig) for anything else. */
export function parseSources(sources: readonly string[]): Source[] {
  const seen = new Map<string, Source>();
  for (const text of sources) {
    if (!readerOf(text).isValid(text) || text.includes('%')) {
      throw new CniError(ErrorCode.invalidConfig, `cannot masquerade ${text}: it is not an IP address`);
    }
    const parsed = readerOf(text).parse(text);
    const address = parsed.kind() === 'ipv6' ? (parsed as ipaddr.IPv6).toRFC5952String() : parsed.toString();
    seen.set(address, { family: parsed.kind() === 'ipv6' ? 6 : 4, address });
  }
  return [...seen.values()];
}

/** Whether parseExceptions takes it. */
export function isPrefix(text: string): boolean {
  return readerOf(text).isValidCIDR(text) && !text.endsWith('/0');
}

/**
 * Destinations that keep their source, as network addresses with prefix length, multicast included, sorted and without
 * repetition; throws CniError(invalidConfig) for what is no prefix.
 */
export function parseExceptions(except: readonly string[]): Record<IpFamily, string[]> {
  const prefixes: Record<IpFamily, Set<string>> = { 4: new Set([MULTICAST[4]]), 6: new Set([MULTICAST[6]]) };
  for (const text of except) {
    if (!readerOf(text).isValidCIDR(text)) {
      throw new CniError(
        ErrorCode.invalidConfig,
        `cannot except ${text} from masquerade: it is not a prefix`,
      );
    }
    const [address, length] = readerOf(text).parseCIDR(text);
    if (length === 0) {
      throw new CniError(
        ErrorCode.invalidConfig,
        `cannot except ${text} from masquerade: that is every destination; turn masquerade off instead`,
      );
    }
    if (address.kind() === 'ipv6') {
      prefixes[6].add(`${ipaddr.IPv6.networkAddressFromCIDR(text).toRFC5952String()}/${length}`);
    } else {
      prefixes[4].add(`${ipaddr.IPv4.networkAddressFromCIDR(text).toString()}/${length}`);
    }
  }
  return { 4: [...prefixes[4]].sort(), 6: [...prefixes[6]].sort() };
}

/** Families that a membership has addresses of. */
export function familiesOf(sources: readonly Source[]): IpFamily[] {
  return ([4, 6] as const).filter((family) => sources.some((source) => source.family === family));
}

/** Four or sixteen bytes of a key, in the spelling of parseSources. */
export function formatAddress(bytes: Uint8Array): string {
  const parsed = ipaddr.fromByteArray([...bytes]);
  return parsed.kind() === 'ipv6' ? (parsed as ipaddr.IPv6).toRFC5952String() : parsed.toString();
}
