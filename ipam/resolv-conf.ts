import { readFileSync, statSync } from 'node:fs';
import { CniError, ErrorCode } from '../cni/errors.ts';
import type { Dns } from '../cni/types.ts';

/** Far above any that a resolver would read. */
const MAX_BYTES = 1024 * 1024;

/** Reads a file in resolv.conf's format (resolv.conf(5)). Throws CniError(io). */
export function readResolvConf(file: string): Dns {
  const refuse = (what: string, details?: string, options?: { cause: unknown }) =>
    new CniError(
      ErrorCode.io,
      `ipam.resolvConf: ${file} ${what}: wanted a file in the format of resolv.conf(5)`,
      details,
      options,
    );
  let text: string;
  try {
    // A FIFO would keep us waiting, and a device might never end.
    const found = statSync(file);
    if (!found.isFile()) throw refuse('cannot be read, it is no regular file');
    if (found.size > MAX_BYTES) throw refuse(`has ${found.size} bytes`);
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if (error instanceof CniError) throw error;
    throw refuse('cannot be read', String(error), { cause: error });
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
