/** The screen of `weft top`, as lines. */
import { table } from '../table.ts';
import type { Load } from './load.ts';
import { count, duration, mebibytes } from './units.ts';

export function loadLines(load: Load): string[] {
  const { pid, version, uptime, memory, eventLoopLag, perSecond, errorsPerSecond } = load;
  const { underWay, fallbacks, refused, corrections, verbs, leases } = load;
  const requests = verbs.map((one) => [
    ...[one.plugin, one.verb, rate(one.perSecond), ms(one.p50), ms(one.p99), ms(one.kernelP50)],
    ...[rate(one.errorsPerSecond), String(one.total), String(one.errors)],
  ]);
  const networks = leases.map(({ network, family, used, free }) => [
    ...[network, `IPv${family}`, count(used), free === undefined ? '?' : count(free)],
  ]);
  return [
    `weft ${version}, pid ${pid}, up ${duration(uptime)}, memory ${mebibytes(memory)}, event loop lag ${ms(eventLoopLag)} ms`,
    `requests ${rate(perSecond)}/s, errors ${rate(errorsPerSecond)}/s, under way ${underWay}; fell back ${fallbacks}, ` +
      `refused ${refused}, repaired ${corrections}`,
    '',
    ...table([
      ['PLUGIN', 'VERB', 'REQ/S', 'P50 MS', 'P99 MS', 'KERNEL P50', 'ERR/S', 'TOTAL', 'ERRORS'],
      ...requests,
    ]),
    '',
    ...table([['NETWORK', 'FAMILY', 'LEASED', 'FREE'], ...networks]),
  ];
}

function rate(perSecond: number): string {
  return perSecond.toFixed(1);
}

function ms(value: number | undefined): string {
  return value === undefined ? '-' : value.toFixed(value < 10 ? 2 : 1);
}
