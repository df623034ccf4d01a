/**
 * A process of its own that works on the leases of a folder: `child.mjs <folder> [--kill-at N [--torn K]] [--mark]`.
 * Reads commands from standard input, one a line (`add ID`, `del ID`, `gc ID,ID`), answers each with a line of JSON.
 *
 * --kill-at N: ends itself by SIGKILL instead of the Nth call of node:fs or Files that touches leases or index (from 0);
 * --torn K: in the middle of that call, as the Kth of its halves has it.
 * --mark: looks at `/weft-mark-begin` and `/weft-mark-end` around each command, for a trace of system calls to be cut there.
 * After the last command it prints {"calls": [name of each such call]}.
 */
import fs from 'node:fs';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import type { Files } from '../../cni/ambient.ts';
import { hostLocal } from '../../ipam/host-local/host-local.ts';
import { HALVES } from './halves.ts';
import { conf, request, type World, worldAt } from './support.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { 'kill-at': { type: 'string' }, torn: { type: 'string' }, mark: { type: 'boolean' } },
});
const [folder = ''] = positionals;
const killAt = Number(values['kill-at'] ?? Number.POSITIVE_INFINITY);
const here = worldAt(folder);
const config = conf({ ranges: [[{ subnet: '10.0.0.0/16' }], [{ subnet: 'fd00:1::/64' }]] });
const calls: string[] = [];
let dying = false;

// biome-ignore lint/suspicious/noExplicitAny: every function is wrapped alike
type AnyFunction = (...args: any[]) => unknown;

function killing(name: string, original: AnyFunction): AnyFunction {
  return (...args) => {
    const counts = !dying && typeof args[0] === 'string' && args[0].startsWith(folder);
    if (counts && calls.push(name) > killAt) {
      dying = true;
      HALVES[name]?.[Number(values.torn ?? -1)]?.(...args);
      process.kill(process.pid, 'SIGKILL');
    }
    return original(...args);
  };
}

const functions = fs as unknown as Record<string, AnyFunction>;
for (const [name, original] of Object.entries(functions)) {
  if (typeof original === 'function' && name.endsWith('Sync')) functions[name] = killing(name, original);
}
const files = Object.fromEntries(
  Object.entries(here.ambient.files).map(([name, original]) => [name, killing(name, original)]),
) as unknown as Files;
const world: World = { ...here, ambient: { ...here.ambient, files } };

async function perform(verb: string, who: string): Promise<string[]> {
  const one = request(world, config, who);
  if (verb === 'del') return hostLocal.del(one);
  if (verb === 'gc') {
    return hostLocal.gc(
      one,
      who.split(',').map((containerId) => ({ containerId, ifname: 'eth0' })),
    );
  }
  return (await hostLocal.add(one)).ips.map((ip) => ip.address);
}

for await (const line of createInterface({ input: process.stdin })) {
  const [verb = '', who = ''] = line.split(' ');
  if (values.mark) fs.existsSync('/weft-mark-begin');
  const answer = await perform(verb, who).catch((error: Error) => ({ error: error.message }));
  if (values.mark) fs.existsSync('/weft-mark-end');
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
process.stdout.write(`${JSON.stringify({ calls })}\n`);
