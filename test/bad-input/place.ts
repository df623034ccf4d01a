/**
 * A simulated host on which plugins are executed with bad input: each answer is held to the rules of an error, and the host and
 * its containers must look afterwards as they did before.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import { SUPPORTED_VERSIONS } from '../../cni/types.ts';
import { type Container, type ExecResult, type Host, makeHost } from '../support/host.ts';
import { pluginsUnderTest } from '../support/plugins.ts';

// biome-ignore lint/suspicious/noExplicitAny: JSON of a plugin, whose shape the assertions are about
type Json = any;

/** A configuration, or any text instead of one. */
export type Input = object | string;

export interface Invocation {
  plugin: string;
  command?: string;
  input?: Input;
  /** Changes of the environment that is right; undefined takes a variable away. */
  env?: Readonly<Record<string, string | undefined>>;
  container?: Container;
  /** What the plugin is started by: `setpriv`, `prlimit`. */
  by?: readonly string[];
}

export interface Answer extends ExecResult {
  json: Json;
}

export interface Place {
  readonly host: Host;
  readonly container: Container;
  /** The environment of a call with which nothing is wrong; without PATH, as the plugins must work. */
  environment(command: string, container?: Container): Record<string, string>;
  call(invocation: Invocation): Promise<Answer>;
  /** Everything that a plugin may change, as readable lines. Bookkeeping of the lease store is left out on demand. */
  snapshot(options?: { bookkeeping?: boolean }): Promise<string[]>;
  /** Runs a shell script on the host. */
  sh(script: string): Promise<string>;
}

/** Lines of one host, in an order that does not depend on chance. */
const SNAPSHOT = `
ip -j link; ip -j addr; ip -j route show table all; ip -j -6 route show table all; ip -j neigh
nft list ruleset
ipset save 2>/dev/null
sysctl net.ipv4.ip_forward net.ipv6.conf.all.forwarding net.bridge 2>/dev/null
find "$WEFT_DATA_DIR" "$WEFT_RUN_DIR" "$WEFT_CACHE_DIR" "$WEFT_CONF_DIR" ! -name probe | sort
for netns; do
  echo "$netns"
  nsenter --net="$netns" ip -j addr
  nsenter --net="$netns" ip -j route show table all
done`;

/** Files that say nothing about any container: locks, the round robin's place, the index of the leases, spare files. */
const BOOKKEEPING =
  /\/(lock|last_reserved_ip\.\d+|\.weft-lease|\.spare|firewall\.lock|networks\/[^/.]+)$|\/run\/leases\b/;

export async function makePlace(t: Test): Promise<Place> {
  const host = await makeHost(t);
  const container = await host.container();
  const bin = pluginsUnderTest();
  const environment = (command: string, whose = container) => ({
    ...Object.fromEntries(Object.entries(host.env).filter(([name]) => name !== 'PATH')),
    CNI_COMMAND: command,
    CNI_CONTAINERID: whose.id,
    CNI_NETNS: whose.netns,
    CNI_IFNAME: 'eth0',
    CNI_PATH: `${host.dirs.bin}:${bin}`,
  });
  return {
    host,
    container,
    environment,
    async call({ plugin, command = 'ADD', input = {}, env = {}, container: whose, by = [] }) {
      const variables = Object.entries({ ...environment(command, whose), ...env }).flatMap(([name, value]) =>
        value === undefined ? [] : [`${name}=${value}`],
      );
      const text = typeof input === 'string' ? input : JSON.stringify(input);
      const words = ['-i', ...variables, ...by, join(bin, plugin)];
      const result = await host.exec('/usr/bin/env', words, { input: text, mayFail: true });
      let json: Json;
      try {
        json = JSON.parse(result.stdout);
      } catch {
        json = undefined;
      }
      return { ...result, json };
    },
    async snapshot({ bookkeeping = true } = {}) {
      const { stdout } = await host.exec('sh', ['-c', SNAPSHOT, 'sh', container.netns]);
      const lines = stdout.split('\n').flatMap((line) => (line.startsWith('[') ? split(line) : [line]));
      return bookkeeping ? lines : lines.filter((line) => !BOOKKEEPING.test(line));
    },
    sh: async (script) => (await host.exec('sh', ['-ec', script])).stdout,
  };
}

interface IpObject {
  dst?: string;
  flags?: string[];
  addr_info?: { scope: string }[];
}

/**
 * One object of `ip -j` per line: a difference is then short. Without what the kernel does by itself some time after a link came up: that
 * it has a carrier, its address of its own, and the routes that belong to that.
 */
function split(line: string): string[] {
  return (JSON.parse(line) as IpObject[])
    .filter(({ dst = '' }) => !/^(fe80:|ff00:)/.test(dst))
    .map(({ addr_info, flags, ...item }) =>
      JSON.stringify({
        ...item,
        operstate: undefined,
        flags: flags?.filter((flag) => !['NO-CARRIER', 'LOWER_UP', 'linkdown'].includes(flag)),
        addr_info: addr_info?.filter(({ scope }) => scope !== 'link'),
      }),
    );
}

/** What two snapshots differ in, as readable lines. */
export function difference(before: readonly string[], after: readonly string[]): string[] {
  return [
    ...before.filter((line) => !after.includes(line)).map((line) => `gone: ${line}`),
    ...after.filter((line) => !before.includes(line)).map((line) => `new: ${line}`),
  ];
}

/** The table of docs/errors.md: code and name. */
export const DOCUMENTED: ReadonlyMap<number, string> = new Map(
  [
    ...readFileSync(join(import.meta.dirname, '../../docs/errors.md'), 'utf8').matchAll(
      /^\| (\d+) \| (\w+) \|/gm,
    ),
  ].map(([, code, name]) => [Number(code), name ?? '']),
);

/** What is wrong with an answer that must be an error, whatever the error is; empty when nothing is. */
export function problems({ status, stdout, stderr, json }: Answer): string[] {
  const found: string[] = [];
  const say = (wrong: boolean, what: string) => {
    if (wrong) found.push(what);
  };
  say(status !== 1, `status ${status}, wanted 1`);
  say(/^\s+at .+:\d+:\d+/m.test(stdout + stderr), 'a stack trace');
  if (typeof json !== 'object' || json === null) return [...found, `stdout is no JSON object: ${stdout}`];
  const { cniVersion, code, msg, details, ...others } = json as Record<string, unknown>;
  say(!(SUPPORTED_VERSIONS as readonly unknown[]).includes(cniVersion), `cniVersion ${cniVersion}`);
  say(!Number.isInteger(code), `code ${code} is no integer`);
  say(!DOCUMENTED.has(code as number), `code ${code} is not in docs/errors.md`);
  say(code === 999, 'an internal error');
  say(typeof msg !== 'string' || msg === '', 'no msg');
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
  say(/[\u0000-\u001f]/.test(String(msg)), 'msg is not one line of text');
  say(String(msg).length > 2000, `msg has ${String(msg).length} characters`);
  say(details !== undefined && typeof details !== 'string', 'details is no text');
  say(Object.keys(others).length > 0, `other keys: ${Object.keys(others)}`);
  return found;
}
