import { readFileSync } from 'node:fs';
import { CniError, ErrorCode } from '../cni/errors.ts';
import type { Dns } from '../cni/types.ts';

/** Reads a file in resolv.conf's format (resolv.conf(5)). Throws CniError(io). */
export function readResolvConf(file: string): Dns {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new CniError(
      ErrorCode.io,
      `ipam.resolvConf: ${file} cannot be read: wanted a file in the format of resolv.conf(5)`,
      String(error),
      { cause: error },
    );
  }
  return parseResolvConf(text);
}

/** The last `domain` counts; `search` and `options` lines add up, as host-local has it. */
export function parseResolvConf(text: string): Dns {
  const dns: Dns = {};
  for (const line of text.split('\n')) {
    const [keyword = '', ...values] = line.trim().split(/\s+/);
    const [first] = values;
    // A comment (`#`, `;`) has no keyword that is known here.
    if (first === undefined) continue;
    if (keyword === 'nameserver') dns.nameservers = [...(dns.nameservers ?? []), first];
    else if (keyword === 'domain') dns.domain = first;
    else if (keyword === 'search') dns.search = [...(dns.search ?? []), ...values];
    else if (keyword === 'options') dns.options = [...(dns.options ?? []), ...values];
  }
  return dns;
}
