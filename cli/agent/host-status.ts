/** What `weft status` looks at. It reads and asks, and changes nothing. */
import { join } from 'node:path';
import type { NetworkSummary } from '../../agent/cluster/summary.ts';
import { select, total } from '../../agent/exposition.ts';
import { type LeaseUsage, leaseUsage } from '../../agent/lease-usage.ts';
import type { Ambient } from '../../cni/ambient.ts';
import { ErrorCode } from '../../cni/errors.ts';
import { listNetworks, unused } from '../../runtime/conf-dir.ts';
import type { NetworkList } from '../../runtime/conflist.ts';
import { type Asked, askNetworks } from '../network/ask.ts';
import { plural } from '../plural.ts';
import { type HostView, lookAtHost, type MasqueradeState } from './host-network.ts';
import type { Lacking } from './lacking.ts';
import { agentFacts, type Scraped, scrape } from './scrape.ts';
import { duration } from './units.ts';

export interface AgentStatus {
  state: Scraped['state'];
  socket: string;
  /** The rest only where it runs. */
  pid?: number;
  version?: string;
  /** Seconds. */
  uptime?: number;
  /** Bytes. */
  memory?: number;
  /** Whether it is of the same build as this command, and stands in the same place: else no plugin asks it. */
  ours?: boolean;
  requests?: { answered: number; failed: number; underWay: number; fallbacks: number; corrections: number };
}

export interface NetworkStatus {
  name: string;
  file: string;
  cniVersion: string;
  plugins: string[];
  /** Links on the host that belong to it; undefined where we may not look. */
  links: number | undefined;
  leases: LeaseUsage[];
  /** Undefined where the network has none. */
  masquerade: MasqueradeState | undefined;
}

export interface LastError {
  /** Seconds since the epoch. */
  time: number;
  plugin: string;
  verb: string;
  code: number;
  /** What the code stands for. */
  meaning: string;
}

export interface HostStatus {
  well: boolean;
  /** One line each; empty when the host is well. */
  problems: string[];
  /** What could not be looked at, and what is worth knowing without being wrong. */
  notes: string[];
  agent: AgentStatus;
  networks: NetworkStatus[];
  /** Networks between hosts. */
  between: NetworkSummary[];
  invalid: { file: string; error: string }[];
  lastErrors: LastError[];
}

/** @param bundle the bundle that the executables beside this command load */
export async function hostStatus(ambient: Ambient, bundle: string): Promise<HostStatus> {
  const { paths } = ambient;
  const [scraped, loaded, usage, asked] = await Promise.all([
    scrape(paths.runDir),
    listNetworks(paths.confDir),
    leaseUsage(paths),
    askNetworks(paths).catch(() => ({ running: false, networks: [] })),
  ]);
  const lists = loaded.flatMap((entry) => ('list' in entry ? [{ ...entry.list, file: entry.file }] : []));
  const host = await lookAtHost(
    ambient,
    lists,
    new Set(usage.filter(({ used }) => used > 0).map((one) => one.network)),
  );
  const networks = lists.map((list) => networkStatus(list, usage, host));
  const invalid = loaded.flatMap((entry) =>
    'error' in entry ? [{ file: entry.file, error: entry.error.message }] : [],
  );
  const agent = await agentStatus(ambient, bundle, scraped);
  const problems = [
    ...agentProblems(agent),
    ...invalid.map(({ file, error }) => (error.includes(file) ? error : `${file}: ${error}`)),
    ...networks.flatMap(networkProblems),
    ...lackingProblems(host.lacking, networks),
    ...asked.networks.flatMap((one) =>
      asked.running ? betweenProblems(one, ambient.now()) : ownProblems(one),
    ),
  ];
  const notes = [
    ...agentNotes(agent, paths.confDir, loaded.length),
    ...unused(loaded).map(({ words }) => words),
    ...strangers(usage, lists, host),
    ...betweenNotes(asked),
    ...host.notes,
  ];
  const well = problems.length === 0;
  return {
    well,
    problems,
    notes,
    agent,
    networks,
    between: asked.networks,
    invalid,
    lastErrors: lastErrors(scraped),
  };
}

function networkStatus(
  list: NetworkList & { file: string },
  usage: readonly LeaseUsage[],
  host: HostView,
): NetworkStatus {
  const { name, file, cniVersion, plugins } = list;
  return {
    ...{ name, file, cniVersion, plugins: plugins.map(({ type }) => type) },
    links: host.links && (host.links.get(name) ?? 0),
    leases: usage.filter(({ network }) => network === name),
    masquerade: host.masquerade.get(name),
  };
}

async function agentStatus({ paths, now }: Ambient, bundle: string, scraped: Scraped): Promise<AgentStatus> {
  const socket = join(paths.runDir, 'agent.sock');
  if (scraped.state !== 'running') return { state: scraped.state, socket };
  const { samples } = scraped;
  const { identity, started, ...facts } = agentFacts(samples);
  const answered = total(samples, 'weft_requests_total');
  const { ownIdentity } = await import('../../agent/identity.ts');
  return {
    ...{ state: 'running', socket, ...facts, uptime: Math.round(now() / 1000 - started) },
    ours: ownIdentity(bundle) === identity,
    requests: {
      answered,
      failed: answered - total(samples, 'weft_requests_total', { code: '0' }),
      underWay: total(samples, 'weft_requests_under_way'),
      fallbacks: total(samples, 'weft_fallbacks_total'),
      corrections: total(samples, 'weft_reconcile_corrections_total'),
    },
  };
}

function agentProblems({ state, socket, ours }: AgentStatus): string[] {
  if (state === 'dead') {
    return [`the agent has ended without removing ${socket}: start it again; until then plugins do without`];
  }
  if (state === 'silent') return ['the agent does not answer: see its log; plugins do without it'];
  if (ours === false) {
    return [
      'the agent is of another build than this command, or stands in another namespace: no plugin beside this command asks it',
    ];
  }
  return [];
}

function agentNotes({ state }: AgentStatus, confDir: string, files: number): string[] {
  const notes = files === 0 ? [`there is no network in ${confDir}`] : [];
  if (state === 'absent') {
    notes.push(
      'no agent runs: plugins work, but each starts Node (50 ms), and nothing puts back what others remove',
    );
  }
  if (state === 'forbidden') notes.push('whether an agent runs cannot be seen: run as root');
  return notes;
}

function networkProblems({ name, leases, masquerade }: NetworkStatus): string[] {
  return [
    ...leases.flatMap(({ family, free, used }) =>
      free === 0
        ? [`network ${name}: no IPv${family} address is free (${used} ${used === 1 ? 'is' : 'are'} leased)`]
        : [],
    ),
    ...(masquerade?.rules === 'missing' ? [`network ${name}: ${missingRules(masquerade.missing)}`] : []),
    ...(masquerade?.rules === 'unknown' ? [`network ${name}: ${masquerade.missing.join('; ')}`] : []),
  ];
}

function missingRules([first, ...more]: readonly string[]): string {
  const others = more.length > 0 ? ` (and ${more.length} more)` : '';
  return `masquerade lacks ${first}${others}: somebody removed it; the agent or the next ADD puts it back`;
}

/** The first of each network; where its base rules are gone, that its elements are as well is no news. */
function lackingProblems(lacking: readonly Lacking[], networks: readonly NetworkStatus[]): string[] {
  const baseIsGone = (name: string) =>
    networks.some((network) => network.name === name && network.masquerade?.rules === 'missing');
  const news = lacking.filter(({ network, kind }) => kind === 'link' || !baseIsGone(network));
  return [...new Set(news.map(({ network }) => network))].map((name) => {
    // What its plugins made is one attachment.
    const attachments = new Map<string, string[]>();
    for (const { network, containerId, ifname, what } of news) {
      if (network !== name) continue;
      const words = `${ifname} of container ${containerId}`;
      attachments.set(words, [...(attachments.get(words) ?? []), ...what]);
    }
    const [[words, what] = ['', []], ...more] = [...attachments];
    const others = more.length > 0 ? `, and ${plural(more.length, 'more attachment')} of it something` : '';
    return `network ${name}: ${words} lacks ${what.join(', ')}${others}: the agent puts it back`;
  });
}

function betweenProblems({ name, problems, registry, sessions = [] }: NetworkSummary, now: number): string[] {
  const { reachable, where, since, error } = registry;
  const away = `${where} has not answered for ${duration((now - since) / 1000)}: containers keep their network, changes elsewhere are not seen`;
  return [
    ...ownProblems({ name, problems }),
    ...sessions
      .filter(({ established }) => !established)
      .map(
        ({ peer, address, state, error }) =>
          `network ${name}: no BGP session with ${peer} at ${address}: ${[state, error].filter(Boolean).join(', ')}`,
      ),
    ...(reachable || error === undefined ? [] : [`network ${name}: ${away} (${error})`]),
  ];
}

/** A registry names the network itself. */
function ownProblems({ name, problems }: Pick<NetworkSummary, 'name' | 'problems'>): string[] {
  const prefix = `network ${name}: `;
  return problems.map((problem) => (problem.startsWith(prefix) ? problem : `${prefix}${problem}`));
}

function betweenNotes({ running, networks }: Asked): string[] {
  const known = networks.filter(({ seen }) => seen !== undefined);
  if (running || known.length === 0) return [];
  const names = known.map(({ name }) => name).join(', ');
  return [
    `no agent looks after ${names}: the kernel has it as the last one left it (weft agent --registry ...)`,
  ];
}

/** What is on the host of networks that have no configuration here. */
function strangers(usage: readonly LeaseUsage[], lists: readonly NetworkList[], host: HostView): string[] {
  const known = new Set(lists.map(({ name }) => name));
  const names = [
    ...usage.filter(({ used }) => used > 0).map(({ network }) => network),
    ...(host.links?.keys() ?? []),
  ];
  return [...new Set(names)]
    .filter((name) => !known.has(name))
    .map((name) => {
      const leases = usage.filter(({ network }) => network === name).reduce((sum, { used }) => sum + used, 0);
      return `network ${name} has no configuration here, but ${plural(host.links?.get(name) ?? 0, 'link')} and ${plural(leases, 'lease')}`;
    });
}

function lastErrors(scraped: Scraped): LastError[] {
  if (scraped.state !== 'running') return [];
  const meanings = new Map(Object.entries(ErrorCode).map(([name, code]) => [code as number, name]));
  return select(scraped.samples, 'weft_request_last_error_timestamp_seconds')
    .map(({ labels, value }) => {
      const code = Number(labels.code);
      const meaning = meanings.get(code) ?? 'unknown';
      return { time: value, plugin: labels.plugin ?? '', verb: labels.verb ?? '', code, meaning };
    })
    .sort((a, b) => b.time - a.time);
}
