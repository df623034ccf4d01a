/** Everything that decides over packets in a network namespace, read from the kernel by the programs that wrote it. Changes nothing. */
import type { Ambient } from '../../cni/ambient.ts';
import { findProgram, onHost, programEnv } from '../../firewall/program.ts';
import { legacyTables } from '../../firewall/xtables.ts';
import type { Namespace } from '../../netlink/door.ts';
import { listTables } from '../../netlink/nftables-objects.ts';
import { withOwners } from '../owners.ts';
import { type Ipset, readIpsets } from './ipsets.ts';
import { readIptables } from './iptables.ts';
import type { Chain, Ruleset, Table } from './model.ts';
import { readNftables } from './nftables.ts';

/** Those that iptables-nft makes; a person may make tables of these names, too. */
const IPTABLES = ['raw', 'mangle', 'nat', 'filter', 'security'];
const FAMILIES = [4, 6] as const;

/**
 * The ruleset of an open namespace: `door.open()` for the one that the process stands in, `door.open(path)` for another. Needs root there.
 * What cannot be read is named in `unread`; nothing is thrown for it.
 */
export async function readRuleset(host: Namespace, ambient: Pick<Ambient, 'env' | 'run'>): Promise<Ruleset> {
  const reader = new Reader(host, ambient);
  const native = await reader.nftables();
  let tables = native ?? [];
  for (const family of FAMILIES) {
    if (native === undefined) {
      // Without nft, iptables knows its own tables all the same.
      tables = [...tables, ...(await reader.iptablesNft(family)).filter(({ chains }) => chains.length > 0)];
      continue;
    }
    const name = family === 4 ? 'ip' : 'ip6';
    const candidates = native.filter((table) => table.family === name && mayBeIptables(table));
    const read = candidates.length > 0 ? await reader.iptablesNft(family) : [];
    tables = tables.map((table) => {
      const same = candidates.includes(table) && read.find((one) => one.name === table.name);
      return same ? merged(same, table) : table;
    });
  }
  for (const family of FAMILIES) tables = [...tables, ...(await reader.iptablesLegacy(family))];
  return withOwners({ tables, unread: reader.unread });
}

function mayBeIptables({ family, name }: Table): boolean {
  return (family === 'ip' || family === 'ip6') && IPTABLES.includes(name);
}

class Reader {
  readonly unread: string[] = [];
  readonly #host: Namespace;
  readonly #ambient: Pick<Ambient, 'env' | 'run'>;
  #ipsets: Map<string, Ipset> | undefined;

  constructor(host: Namespace, ambient: Pick<Ambient, 'env' | 'run'>) {
    this.#host = host;
    this.#ambient = ambient;
  }

  /** Most namespaces have no table: no program has to be started to know that. */
  async #isEmpty(): Promise<boolean> {
    try {
      const [tables] = await this.#host.send(listTables());
      return tables.ok && tables.value.length === 0;
    } catch {
      return false;
    }
  }

  /** Undefined where they cannot be read. */
  async nftables(): Promise<Table[] | undefined> {
    if (await this.#isEmpty()) return [];
    const json = await this.#run('nft', ['-j', 'list', 'ruleset'], 'tables of nf_tables');
    if (json === undefined) return undefined;
    const printed = await this.#run('nft', ['-a', '-s', '-t', 'list', 'ruleset'], 'words of its rules');
    try {
      return readNftables(json, printed);
    } catch (error) {
      this.unread.push(`nft printed no JSON: ${error instanceof Error ? error.message : error}`);
      return undefined;
    }
  }

  /** Tables that iptables made, in its own words; chains that it prints without cause are left out. */
  async iptablesNft(family: 4 | 6): Promise<Table[]> {
    const program = family === 4 ? 'iptables' : 'ip6tables';
    const printed = (await this.#run(`${program}-nft-save`, ['-c'], `rules of ${program} in full`)) ?? '';
    const tables = await this.#read(printed, 'iptables-nft', family);
    return tables
      .filter(({ name }) => !isForeign(printed, name))
      .map((table) => ({ ...table, chains: table.chains.filter((chain) => !isIdle(chain)) }));
  }

  async iptablesLegacy(family: 4 | 6): Promise<Table[]> {
    // Asked without need, the program would load the module and make the tables.
    if ((await legacyTables(this.#host, family)).length === 0) return [];
    const program = family === 4 ? 'iptables' : 'ip6tables';
    const printed = await this.#run(`${program}-legacy-save`, ['-c'], `tables of legacy ${program}`);
    return await this.#read(printed ?? '', 'iptables-legacy', family);
  }

  async #read(printed: string, variant: 'iptables-nft' | 'iptables-legacy', family: 4 | 6): Promise<Table[]> {
    return readIptables(
      printed,
      variant,
      family,
      printed.includes('--match-set ') ? await this.#sets() : new Map(),
    );
  }

  async #sets(): Promise<Map<string, Ipset>> {
    this.#ipsets ??= readIpsets((await this.#run('ipset', ['save'], 'sets of ipset')) ?? '');
    return this.#ipsets;
  }

  /** What a program prints; undefined where it cannot be had, which is noted then. */
  async #run(name: string, args: readonly string[], what: string): Promise<string | undefined> {
    const { env } = this.#ambient;
    if (findProgram(env, name) === undefined) {
      this.unread.push(`${what}: ${name} is not installed (or not on PATH)`);
      return undefined;
    }
    const [file, words] = onHost(this.#host, name, args);
    const { status, stdout, stderr } = await this.#ambient.run(file, words, { env: programEnv(env) });
    if (status === 0) return stdout;
    this.unread.push(`${what}: ${name} failed: ${stderr.trim().split('\n')[0] || `exit status ${status}`}`);
    return undefined;
  }
}

/** iptables-nft-save prints all chains of a table's hooks, whether they are there or not. */
function isIdle({ base, rules, counters }: Chain): boolean {
  return base?.policy === 'accept' && rules.length === 0 && !counters?.packets;
}

/** iptables-nft-save says so of tables whose rules are none of its own. */
function isForeign(printed: string, table: string): boolean {
  return new RegExp(`^# Table \`${table}' is incompatible`, 'm').test(printed);
}

/** Rules as iptables words them, with the kernel's handles and hooks. */
function merged(read: Table, seen: Table): Table {
  const chains = seen.chains.map((chain): Chain => {
    const same = read.chains.find(({ name }) => name === chain.name);
    if (same === undefined || same.rules.length !== chain.rules.length) return chain;
    const rules = same.rules.map((rule, i) => {
      const handle = chain.rules[i]?.handle;
      return handle === undefined ? rule : { ...rule, handle };
    });
    const { counters } = same;
    return { ...chain, rules, ...(chain.base && counters ? { counters } : {}) };
  });
  return { ...read, chains };
}
