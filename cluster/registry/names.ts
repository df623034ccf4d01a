/** What may be a key in a registry. */
import { formatAddress, networkOf, parseAddress } from '../../cni/prefix.ts';
import { type JoinRequest, RegistryError } from '../registry.ts';
import { prefixOf } from './blocks.ts';

/** As networks are named in the specification (SPEC 1.1, section 1), and hosts in RFC 1123. */
export const NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,252}$/;

/** Throws RegistryError(invalid). */
export function checkName(what: 'network' | 'host', name: string): void {
  if (NAME.test(name)) return;
  throw new RegistryError(
    'invalid',
    `${what} name "${name.slice(0, 60)}": wanted a letter or digit, then letters, digits, "_", "." and "-", at most 253`,
  );
}

/** Throws RegistryError(invalid): what comes from configuration is named before it is in the registry. */
export function checkJoin({ network, host, addresses, pools, before, avoid }: JoinRequest): void {
  checkName('network', network);
  checkName('host', host);
  for (const text of addresses) {
    const address = parseAddress(text);
    if (address !== undefined && formatAddress(address) === text) continue;
    throw new RegistryError('invalid', `host ${host}: "${text}" is no address in its canonical form`);
  }
  if (pools.length === 0) throw new RegistryError('invalid', `network ${network} has no pool`);
  for (const text of [...before, ...avoid]) prefixOf(text);
  for (const { prefix: text } of pools) {
    prefixOf(text);
    if (networkOf(text) === text) continue;
    throw new RegistryError(
      'invalid',
      `network ${network}: pool ${text} has host bits set: wanted ${networkOf(text)}`,
    );
  }
}
