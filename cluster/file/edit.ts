/** Changes a registry file's document, node by node: comments and order stay. */
import type { Document } from 'yaml';
import { canonical, parseAddress } from '../../cni/prefix.ts';
import type { Change } from '../registry/store.ts';
import type { NetworkState } from '../registry.ts';

type Yaml = typeof import('yaml');
type Path = readonly (string | number)[];

const FIELDS = ['addresses', 'subnets', 'borrowed', 'mac'] as const;

/** Whether anything was to be changed. `before`: what the document says of the network. */
export function apply(
  yaml: Yaml,
  document: Document,
  network: string,
  { host, member, put = [], remove = [] }: Change,
  before: NetworkState,
): boolean {
  const top = ['networks', network];
  const old = before.members.find((one) => one.host === host);
  let changes = put.length + remove.length;
  if (member === null && old !== undefined) {
    changes += 1;
    removeAt(yaml, document, [...top, 'hosts'], host);
  }
  for (const key of member ? FIELDS : []) {
    const value = member?.[key];
    if (JSON.stringify(old?.[key]) === JSON.stringify(value)) continue;
    changes += 1;
    if (value === undefined) removeAt(yaml, document, [...top, 'hosts', host], key);
    else setAt(yaml, document, [...top, 'hosts', host, key], value);
  }
  const endpoints = [...top, 'endpoints'];
  for (const address of remove) removeAt(yaml, document, endpoints, address);
  for (const { address, mac, host: owner } of put) {
    setAt(yaml, document, [...endpoints, spelled(yaml, document, endpoints, address)], { mac, host: owner });
  }
  return changes > 0;
}

/** A person may have written an address in another spelling. */
function spelled(yaml: Yaml, document: Document, path: Path, key: string): string {
  const map = document.getIn(path, true);
  if (!yaml.isMap(map)) return key;
  const same = (text: string) =>
    text === key || (parseAddress(text) !== undefined && canonical(text) === key);
  return (
    map.items.map((item) => String(yaml.isScalar(item.key) ? item.key.value : item.key)).find(same) ?? key
  );
}

function setAt(yaml: Yaml, document: Document, path: Path, value: unknown): void {
  // What is there but no map (`networks:` without anything, an alias) gives way to one with the same content.
  for (let length = 0; length < path.length; length += 1) {
    const at = path.slice(0, length);
    const node = length === 0 ? document.contents : document.getIn(at, true);
    if (node === undefined || yaml.isMap(node)) continue;
    const plain = yaml.isNode(node) ? (node.toJS(document) ?? {}) : {};
    const map = document.createNode(plain);
    if (length === 0) document.contents = map as typeof document.contents;
    else document.setIn(at, map);
  }
  document.setIn(
    path,
    document.createNode(value, { flow: Array.isArray(value) || path.includes('endpoints') }),
  );
}

function removeAt(yaml: Yaml, document: Document, path: Path, key: string): void {
  if (yaml.isMap(document.getIn(path, true)))
    document.deleteIn([...path, spelled(yaml, document, path, key)]);
}
