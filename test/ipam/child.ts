/**
 * A process of its own that works on the leases of a folder: `child.mjs <folder> [--kill-at N [--torn]] [--mark]`.
 * Reads commands from standard input, one a line (`add ID`, `del ID`, `gc ID,ID`), answers each with a line of JSON.
 *
 * --kill-at N: ends itself by SIGKILL instead of the Nth call of node:fs that touches leases or index (from 0);
 * --torn: when that call writes a file, half of it is written first.
 * --mark: looks at `/weft-mark-begin` and `/weft-mark-end` around each command, for a trace of system calls to be cut there.
 * After the last command it prints {"calls": [name of each such call]}.
 */
import fs from 'node:fs';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { hostLocal } from '../../ipam/host-local/host-local.ts';
import { conf, request, worldAt } from './support.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { 'kill-at': { type: 'string' }, torn: { type: 'boolean' }, mark: { type: 'boolean' } },
});
const [folder = ''] = positionals;
const killAt = Number(values['kill-at'] ?? Number.POSITIVE_INFINITY);
const world = worldAt(folder);
const config = conf({ ranges: [[{ subnet: '10.0.0.0/16' }], [{ subnet: 'fd00:1::/64' }]] });
const calls: string[] = [];
let dying = false;

// biome-ignore lint/suspicious/noExplicitAny: every function of node:fs is wrapped alike
type AnyFunction = (...args: any[]) => unknown;
const functions = fs as unknown as Record<string, AnyFunction>;
for (const name of Object.keys(functions)) {
  const original = functions[name];
  if (typeof original !== 'function' || !name.endsWith('Sync')) continue;
  functions[name] = (...args) => {
    const counts = !dying && typeof args[0] === 'string' && args[0].startsWith(folder);
    if (counts && calls.push(name) > killAt) {
      dying = true;
      if (values.torn && name === 'writeFileSync') {
        const text = String(args[1]);
        original(args[0], text.slice(0, text.length / 2), args[2]);
      }
      process.kill(process.pid, 'SIGKILL');
    }
    return original(...args);
  };
}

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
