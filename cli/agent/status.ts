/** `weft status` */
import { join } from 'node:path';
import type { NetworkSummary } from '../../agent/cluster/summary.ts';
import { CniError, ErrorCode } from '../../cni/errors.ts';
import type { WeftContext } from '../context.ts';
import { contact } from '../network/list.ts';
import { plural } from '../plural.ts';
import { lines, table } from '../table.ts';
import type { AgentStatus, HostStatus, LastError, NetworkStatus } from './host-status.ts';
import { hostStatus } from './host-status.ts';
import { count, duration, mebibytes } from './units.ts';

export async function status(this: WeftContext, flags: { json?: boolean }): Promise<Error | undefined> {
  const { ambient, terminal, home } = this;
  const found = await hostStatus(ambient, join(home, 'weft-core.js'));
  terminal.out(flags.json ? `${JSON.stringify(found, null, 2)}\n` : screen(found, ambient.now()));
  if (found.well) return undefined;
  return new CniError(
    ErrorCode.notAvailable,
    `this host is not well: ${plural(found.problems.length, 'problem')}`,
  );
}

function screen({ agent, networks, between, lastErrors, notes, problems }: HostStatus, now: number): string {
  const parts = [
    agentLines(agent),
    networks.length > 0 ? table([HEAD, ...networks.map(networkRow)]) : [],
    between.length > 0 ? table([BETWEEN, ...between.map((network) => betweenRow(network, now))]) : [],
    lastErrors.length > 0 ? ['last errors:', ...errorLines(lastErrors.slice(0, 5), now)] : [],
    notes.map((note) => `note: ${note}`),
    problems.length > 0 ? problems.map((problem) => `problem: ${problem}`) : ['this host is well'],
  ];
  return lines(
    ...parts.filter((part) => part.length > 0).flatMap((part, i) => (i === 0 ? part : ['', ...part])),
  );
}

function agentLines({
  state,
  socket,
  pid,
  version,
  uptime = 0,
  memory = 0,
  requests,
}: AgentStatus): string[] {
  if (state !== 'running') {
    const words = {
      absent: 'not running',
      dead: 'dead',
      silent: 'does not answer',
      forbidden: 'not to be seen',
    };
    return table([['agent', `${words[state]} (${socket})`]]);
  }
  const { answered = 0, failed = 0, underWay = 0, fallbacks = 0, corrections = 0 } = requests ?? {};
  return table([
    ['agent', `running: pid ${pid}, weft ${version}, up ${duration(uptime)}, ${mebibytes(memory)}`],
    ['socket', socket],
    ['requests', `${answered} answered, ${failed} failed, ${underWay} under way, ${fallbacks} fell back`],
    ['repairs', `${corrections}`],
  ]);
}

const HEAD = ['NETWORK', 'PLUGINS', 'LINKS', 'IPV4 USED/FREE', 'IPV6 USED/FREE', 'MASQUERADE'];

function networkRow({ name, plugins, links, leases, masquerade }: NetworkStatus): string[] {
  const addresses = ([4, 6] as const).map((wanted) => {
    const usage = leases.find(({ family }) => family === wanted);
    return usage ? `${usage.used}/${usage.free === undefined ? '?' : count(usage.free)}` : '-';
  });
  const rules = {
    standing: 'stands',
    missing: 'RULES MISSING',
    unneeded: 'not needed yet',
    unknown: 'UNKNOWN',
  };
  return [
    name,
    plugins.join(' '),
    links === undefined ? '?' : String(links),
    ...addresses,
    masquerade ? `${masquerade.backend}, ${rules[masquerade.rules]}` : '-',
  ];
}

const BETWEEN = ['BETWEEN HOSTS', 'BACKEND', 'THIS HOST HOLDS', 'HOSTS', 'REGISTRY', 'PUT BACK'];

function betweenRow(
  { name, backend, subnets, members, registry, corrections, sessions }: NetworkSummary,
  now: number,
): string[] {
  const standing = sessions?.filter(({ established }) => established).length;
  const spoken = sessions === undefined ? backend : `${backend}, ${standing} of ${sessions.length} sessions`;
  return [
    ...[name, spoken, subnets.join(' ') || '-', String(members.length)],
    ...[contact(registry, now), String(corrections)],
  ];
}

function errorLines(errors: readonly LastError[], now: number): string[] {
  const rows = errors.map(({ time, plugin, verb, code, meaning }) => [
    `  ${duration(now / 1000 - time)} ago`,
    `${plugin} ${verb}`,
    `${code} ${meaning}`,
  ]);
  return table(rows);
}
