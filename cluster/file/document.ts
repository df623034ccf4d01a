/** A registry file as text: read with the line of every mistake, changed so that what people wrote around it stays. */
import type { Document, LineCounter } from 'yaml';
import { configSchema, describeFaults } from '../../cni/config.ts';
import type { ConfigFault } from '../../cni/plugin.ts';
import { canonical, networkOf, parseAddress, parsePrefix } from '../../cni/prefix.ts';
import { NAME } from '../registry/names.ts';
import type { Change } from '../registry/store.ts';
import { type Endpoint, type Member, type NetworkState, RegistryError } from '../registry.ts';
import { apply } from './edit.ts';
import { firstOverlap } from './overlap.ts';
import { type FileMember, type RegistryFile, schema } from './schema.ts';
import { validate } from './validate.generated.ts';

type Yaml = typeof import('yaml');
type Path = readonly (string | number)[];

const checked = configSchema(schema, validate);

export interface RegistryDocument {
  /** Of a network that is not in the file: nothing. */
  state(network: string): NetworkState;
  /** The text after a change; undefined when that changes nothing. */
  changed(network: string, change: Change): string | undefined;
}

/** Throws RegistryError(invalid): file, line, field, what was found and what is wanted. */
export function readDocument(yaml: Yaml, file: string, text: string): RegistryDocument {
  const lines = new yaml.LineCounter();
  const document = yaml.parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const fail = (line: number | undefined, message: string): never => {
    const where = line === undefined ? '' : ` line ${line}:`;
    throw new RegistryError('invalid', `registry file ${file}:${where} ${message}`);
  };
  const [error] = document.errors;
  if (error !== undefined) fail(lines.linePos(error.pos[0]).line, sentence(error.message));
  let content: RegistryFile = {};
  try {
    content = (document.toJS() ?? {}) as RegistryFile;
  } catch (cause) {
    fail(undefined, sentence(cause instanceof Error ? cause.message : String(cause)));
  }
  const fault = unknownKey(content) ?? checked.faults(withoutNulls(content))[0] ?? meaningFault(content);
  if (fault !== undefined) fail(lineOf(yaml, document, lines, fault), describeFaults([fault]));
  return {
    state: (network) => stateOf(content.networks?.[network]),
    changed: (network, change) =>
      apply(yaml, document, network, change, stateOf(content.networks?.[network]))
        ? document.toString({ lineWidth: 0 })
        : undefined,
  };
}

/** The library's messages begin with a capital, and may have the text around on further lines. */
function sentence(message: string): string {
  const line = message.split('\n', 1)[0] ?? '';
  return line.charAt(0).toLowerCase() + line.slice(1);
}

/** `networks:` without anything below is an empty map. */
function withoutNulls(content: RegistryFile): unknown {
  const networks = Object.entries(content.networks ?? {}).map(([name, network]) => [
    name,
    network && typeof network === 'object' && !Array.isArray(network)
      ? Object.fromEntries(Object.entries(network).filter(([, value]) => value !== null))
      : (network ?? {}),
  ]);
  const usual = typeof content.networks === 'object' && !Array.isArray(content.networks);
  return { ...content, networks: usual ? Object.fromEntries(networks) : (content.networks ?? {}) };
}

const KEYS = {
  file: ['networks'],
  network: ['hosts', 'endpoints'],
  host: ['addresses', 'subnets', 'borrowed', 'mac'],
} as const;

/** A misspelt key, named with those there are. */
function unknownKey(content: unknown): ConfigFault | undefined {
  const odd = (value: unknown, allowed: readonly string[], path: Path): ConfigFault | undefined => {
    const key = Object.keys(asMap(value)).find((one) => !allowed.includes(one));
    if (key === undefined) return undefined;
    const at = [...path, key];
    return {
      field: at.join('.'),
      found: asMap(value)[key],
      wanted: `no such key, only ${allowed.join(', ')}`,
      path: at,
    };
  };
  const first = odd(content, KEYS.file, []);
  if (first !== undefined) return first;
  for (const [name, network] of Object.entries(asMap(asMap(content).networks))) {
    const path = ['networks', name];
    const found = odd(network, KEYS.network, path);
    if (found !== undefined) return found;
    for (const [host, member] of Object.entries(asMap(asMap(network).hosts))) {
      const fault = odd(member, KEYS.host, [...path, 'hosts', host]);
      if (fault !== undefined) return fault;
    }
  }
  return undefined;
}

function asMap(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : {};
}

/** What a schema cannot say: names, addresses, and that nobody holds what another holds. */
function meaningFault({ networks }: RegistryFile): ConfigFault | undefined {
  for (const [name, network] of Object.entries(networks ?? {})) {
    const path = ['networks', name];
    if (!NAME.test(name)) return faultAt(path, name, 'a network name of letters, digits, "_", "." and "-"');
    for (const [host, member] of Object.entries(network?.hosts ?? {})) {
      const fault = memberFault([...path, 'hosts', host], host, member);
      if (fault !== undefined) return fault;
    }
    for (const [address, { host }] of Object.entries(network?.endpoints ?? {})) {
      const at = [...path, 'endpoints', address];
      if (parseAddress(address) === undefined)
        return faultAt(at, address, 'an address without prefix length');
      if (!Object.hasOwn(network?.hosts ?? {}, host)) {
        return faultAt([...at, 'host'], host, `one of the hosts of network ${name}`);
      }
    }
    const clash = firstOverlap(network?.hosts ?? {});
    if (clash !== undefined) {
      const at = [...path, 'hosts', clash.host, clash.list, clash.index];
      return faultAt(
        at,
        clash.text,
        `a prefix that overlaps no other (${clash.other} of host ${clash.holder} does)`,
      );
    }
  }
  return undefined;
}

function memberFault(path: Path, host: string, member: FileMember): ConfigFault | undefined {
  if (!NAME.test(host)) return faultAt(path, host, 'a host name of letters, digits, "_", "." and "-"');
  for (const [list, texts] of Object.entries({
    addresses: member.addresses,
    borrowed: member.borrowed ?? [],
  })) {
    const index = texts.findIndex((text) => parseAddress(text) === undefined);
    if (index >= 0) return faultAt([...path, list, index], texts[index], 'an address without prefix length');
  }
  for (const [index, text] of (member.subnets ?? []).entries()) {
    const at = [...path, 'subnets', index];
    if (parsePrefix(text) === undefined) return faultAt(at, text, 'a prefix such as 10.244.3.0/24');
    if (networkOf(text) !== canonical(text))
      return faultAt(at, text, `a prefix without host bits: ${networkOf(text)}`);
  }
  return undefined;
}

function faultAt(path: Path, found: unknown, wanted: string): ConfigFault {
  return { field: path.join('.').replace(/\.(\d+)$/, '[$1]'), found, wanted, path };
}

/** The line of the value at fault; of what it is missing in. */
function lineOf(yaml: Yaml, document: Document, lines: LineCounter, fault: ConfigFault): number | undefined {
  for (let path = [...fault.path]; ; path = path.slice(0, -1)) {
    const parent = path.length === 0 ? undefined : document.getIn(path.slice(0, -1), true);
    const pair = yaml.isMap(parent)
      ? parent.items.find(({ key }) => String(yaml.isScalar(key) ? key.value : key) === String(path.at(-1)))
      : undefined;
    const node = pair?.key ?? (path.length === 0 ? document.contents : document.getIn(path, true));
    if (yaml.isNode(node) && node.range) return lines.linePos(node.range[0]).line;
    if (path.length === 0) return undefined;
  }
}

type FileNetwork = NonNullable<RegistryFile['networks']>[string];

function stateOf(network: FileNetwork | null | undefined): NetworkState {
  const members = Object.entries(network?.hosts ?? {}).map(
    ([host, member]): Member => ({
      host,
      addresses: member.addresses.map(canonical),
      subnets: (member.subnets ?? []).map(canonical),
      ...(member.borrowed?.length ? { borrowed: member.borrowed.map(canonical) } : {}),
      ...(member.mac === undefined ? {} : { mac: member.mac.toLowerCase() }),
    }),
  );
  const endpoints = Object.entries(network?.endpoints ?? {}).map(
    ([address, { mac, host }]): Endpoint => ({
      address: canonical(address),
      mac: mac.toLowerCase(),
      host,
    }),
  );
  return sorted(members, endpoints);
}

/** In the order that NetworkState promises. */
export function sorted(members: readonly Member[], endpoints: readonly Endpoint[]): NetworkState {
  return {
    members: [...members].sort((a, b) => (a.host < b.host ? -1 : 1)),
    endpoints: [...endpoints].sort((a, b) => (a.address < b.address ? -1 : 1)),
  };
}
