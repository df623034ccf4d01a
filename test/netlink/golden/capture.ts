/**
 * Writes captured.json anew: what the programs of cases.ts send, seen by strace, as hex.
 * Run as root: npx tsx test/netlink/golden/capture.ts
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CASES, SETUP } from './cases.ts';

const NAMESPACE = 'weft-t-golden';
const BATCH_BEGIN = 0x10;

/** The buffers that a program sent, in order; each is dumped as lines of ` | offset  16 bytes in hex  text |`. */
function buffers(trace: string): Buffer[] {
  const found: string[] = [];
  for (const line of trace.split('\n')) {
    if (!line.startsWith(' | ')) found.push('');
    else found.push(`${found.pop() ?? ''}${line.slice(10, 59).replaceAll(' ', '')}`);
  }
  return found.filter((hex) => hex.length >= 32).map((hex) => Buffer.from(hex, 'hex'));
}

function capture(command: string, folder: string): string {
  const trace = join(folder, 'trace');
  const run = (...args: string[]) => execFileSync('ip', ['netns', ...args]);
  run('add', NAMESPACE);
  try {
    for (const line of SETUP) run('exec', NAMESPACE, 'sh', '-c', line);
    const traced = `strace -f -o ${trace} -e trace=sendmsg,sendto -e write=all ${command.replace('NAMESPACE', NAMESPACE)} || true`;
    run('exec', NAMESPACE, 'sh', '-c', traced);
  } finally {
    run('del', NAMESPACE);
  }
  const sent = buffers(readFileSync(trace, 'utf8'));
  const batch = sent.find((bytes) => command.startsWith('nft') && bytes.readUInt16LE(4) === BATCH_BEGIN);
  return (batch ?? sent.at(-1) ?? Buffer.alloc(0)).toString('hex');
}

const folder = mkdtempSync(join(tmpdir(), 'weft-golden-'));
const captured = Object.entries(CASES).map(([name, { command }]) => [
  name,
  { command, hex: capture(command, folder) },
]);
rmSync(folder, { recursive: true });
writeFileSync(
  new URL('captured.json', import.meta.url),
  `${JSON.stringify(Object.fromEntries(captured), null, 2)}\n`,
);
