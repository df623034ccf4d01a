/** Options that several commands share, and how their values are read. */
import { UsageError } from '../context.ts';

/** What says which attachment is meant. */
export interface AttachmentFlags {
  id?: string;
  ifname: string;
  cap?: readonly (readonly [string, unknown])[];
  arg?: readonly (readonly [string, string])[];
  cniPath?: string;
  json?: boolean;
}

export const jsonFlag = {
  kind: 'boolean',
  brief: 'Print JSON instead of text',
  optional: true,
  withNegated: false,
} as const;

export const cniPathFlag = {
  kind: 'parsed',
  parse: String,
  brief: 'DIRS with plugins [CNI_PATH, else beside weft and the usual ones]',
  placeholder: 'DIRS',
  optional: true,
} as const;

export const idFlag = {
  kind: 'parsed',
  parse: String,
  brief: 'ID of the container [derived from NETNS]',
  placeholder: 'ID',
  optional: true,
} as const;

export const ifnameFlag = {
  kind: 'parsed',
  parse: String,
  brief: 'NAME of the interface in the container',
  placeholder: 'NAME',
  default: 'eth0',
} as const;

export const capFlag = {
  kind: 'parsed',
  parse: parseCapability,
  brief: 'KEY=JSON for a capability, such as ips=["10.1.0.7"]; repeatable',
  placeholder: 'KEY=JSON',
  optional: true,
  variadic: true,
} as const;

export const argFlag = {
  kind: 'parsed',
  parse: parseArgument,
  brief: 'K=V for CNI_ARGS, such as IP=10.1.0.7; repeatable',
  placeholder: 'K=V',
  optional: true,
  variadic: true,
} as const;

/** `KEY=JSON` */
export function parseCapability(text: string): readonly [string, unknown] {
  const [key, value] = split(text, 'KEY=JSON');
  try {
    return [key, JSON.parse(value)];
  } catch {
    throw new UsageError(`the value of ${key} is not JSON: ${value} (text needs quotes: ${key}='"text"')`);
  }
}

/** `K=V`, neither with a `;`, which separates the entries of CNI_ARGS. */
export function parseArgument(text: string): readonly [string, string] {
  const [key, value] = split(text, 'K=V');
  if (text.includes(';')) throw new UsageError(`an argument holds no ";": repeat --arg instead`);
  return [key, value];
}

/** `ID/IFNAME` */
export function parseAttachment(text: string): { containerId: string; ifname: string } {
  const at = text.lastIndexOf('/');
  if (at <= 0 || at === text.length - 1) {
    throw new UsageError('wanted ID/IFNAME, such as web/eth0');
  }
  return { containerId: text.slice(0, at), ifname: text.slice(at + 1) };
}

function split(text: string, form: string): [string, string] {
  const at = text.indexOf('=');
  if (at <= 0) throw new UsageError(`wanted ${form}`);
  return [text.slice(0, at), text.slice(at + 1)];
}
