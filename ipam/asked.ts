import { CniError, ErrorCode } from '../cni/errors.ts';
import { type Address, formatAddress, parseAddress, parsePrefix } from '../cni/prefix.ts';

/** One place where a runtime may ask for addresses, and what it wrote there. */
export interface AskedSource {
  /** For error messages. */
  field: string;
  code: number;
  texts: readonly string[];
}

/** An address that a runtime asked for. */
export interface Asked {
  address: Address;
  /** Canonical, without prefix length. */
  text: string;
  field: string;
}

interface AskingConf {
  args?: { cni?: { ips?: readonly string[] } } | undefined;
  runtimeConfig?: { ips?: readonly string[] } | undefined;
}

/**
 * The three ways of asking, in rising order of weight (CONVENTIONS.md, "ips"; host-local's and static's manuals):
 * CNI_ARGS `IP`, comma separated; `args.cni.ips`; `runtimeConfig.ips`.
 */
export function askedSources(conf: AskingConf, args: Readonly<Record<string, string>>): AskedSource[] {
  return [
    { field: 'CNI_ARGS IP', code: ErrorCode.invalidEnvironment, texts: splitList(args.IP) },
    { field: 'args.cni.ips', code: ErrorCode.invalidConfig, texts: conf.args?.cni?.ips ?? [] },
    { field: 'runtimeConfig.ips', code: ErrorCode.invalidConfig, texts: conf.runtimeConfig?.ips ?? [] },
  ];
}

/** `a, b,` as [a, b]. */
export function splitList(text: string | undefined): string[] {
  return (text ?? '')
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '');
}

/**
 * Every address asked for, in all three ways together, each once; a prefix length is allowed and not used, because
 * the range decides it. Throws CniError(invalidEnvironment or invalidConfig).
 */
export function askedAddresses(conf: AskingConf, args: Readonly<Record<string, string>>): Asked[] {
  const asked = new Map<string, Asked>();
  for (const { field, code, texts } of askedSources(conf, args)) {
    for (const item of texts) {
      const address = item.includes('/') ? parsePrefix(item)?.address : parseAddress(item);
      if (address === undefined) {
        throw new CniError(code, `${field}: wanted an IPv4 or IPv6 address, found ${JSON.stringify(item)}`);
      }
      const text = formatAddress(address);
      if (!asked.has(text)) asked.set(text, { address, text, field });
    }
  }
  return [...asked.values()];
}
