/**
 * Where the kernel gives a packet up, and why: the tracepoint skb:kfree_skb with its reason (since Linux 5.17), read from an instance of
 * tracefs of our own. It knows no namespace; the kernel's address of the packet ties it to a link that the packet was seen on.
 */
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { clocks, openTracefs } from '../../netlink/socket.ts';
import type { Way } from './flow.ts';
import { type Guard, startGuard } from './guard.ts';
import type { SeenDrop, SeenPacket } from './request.ts';

/** Kilobytes for each processor: some thousand events; older ones are overwritten. */
const BUFFER = 512;
const PREFIX = 'weft-trace-';
const ETHERNET_HEADER = 14;
/** Nanoseconds between two looks at one packet on one link: it may wait for a busy processor between them. */
const SAME = 100_000_000n;
/** Nanoseconds after which the last sight of an address says nothing of who has it now: what is dropped is dropped at once, */
const STALE = 100_000_000n;
/** but for packets that wait for a neighbour (NEIGH_FAILED). */
const STALE_NEIGHBOUR = 10_000_000_000n;

/** With the packet itself, where that was seen on a link. */
export interface FoundDrop extends SeenDrop {
  packet?: SeenPacket;
}

export interface DropWatch {
  /** Reads what there was until now, and takes all away. */
  finish(packets: readonly SeenPacket[]): Promise<FoundDrop[]>;
}

/**
 * Starts at once. `lengths`: of the IP packets that matter, so that on a busy host others do not push them out of the buffer; absent: any.
 * Throws an Error with `code` where the machine has no tracing, or not for us.
 */
export async function watchDrops(
  family: 4 | 6,
  pid: number,
  lengths?: readonly number[],
): Promise<DropWatch> {
  const root = openTracefs();
  let guard: Guard | undefined;
  try {
    const instances = `/proc/self/fd/${root}/instances`;
    removeStale(instances);
    const name = `${PREFIX}${pid}-${process.hrtime.bigint()}`;
    guard = await startGuard('rmdir "/proc/self/fd/3/instances/$1"', [root], [name]);
    const instance = `${instances}/${name}`;
    const held = makeInstance(instance);
    const release = async () => {
      closeSync(held);
      await guard?.release();
      closeSync(root);
    };
    try {
      configure(instance, family, lengths);
    } catch (error) {
      await release();
      throw error;
    }
    return {
      finish: async (packets) => {
        try {
          writeFileSync(`${instance}/tracing_on`, '0');
          return correlate(parseTrace(readFileSync(`${instance}/trace`, 'utf8')), packets, pid);
        } finally {
          await release();
        }
      },
    };
  } catch (error) {
    await guard?.release();
    try {
      closeSync(root);
    } catch {}
    throw error;
  }
}

/**
 * While a file of it is open, nobody can remove an instance: what can be removed is stale. Another one that starts in the moment between
 * takes it for that. Returns the descriptor that holds it.
 */
function makeInstance(instance: string): number {
  for (let left = 3; ; left--) {
    mkdirSync(instance);
    try {
      return openSync(`${instance}/trace_pipe`, 'r');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || left === 0) throw error;
    }
  }
}

/** Of processes that were killed together with their guards. */
function removeStale(instances: string): void {
  for (const name of readdirSync(instances)) {
    if (!name.startsWith(PREFIX)) continue;
    try {
      rmdirSync(`${instances}/${name}`);
    } catch {
      // EBUSY: somebody traces.
    }
  }
}

/** What stands before an IP packet: nothing, Ethernet; a tunnel over either family, without and with Ethernet of its own. */
const IN_FRONT = [0, ETHERNET_HEADER, 50, 64, 70, 84];

function configure(instance: string, family: 4 | 6, lengths: readonly number[] | undefined): void {
  const write = (file: string, text: string) => writeFileSync(`${instance}/${file}`, text);
  write('trace_clock', 'mono');
  write('buffer_size_kb', String(BUFFER));
  write('events/skb/kfree_skb/filter', `protocol == ${family === 4 ? 0x0800 : 0x86dd}`);
  for (const event of ['skb/kfree_skb', 'net/net_dev_queue', 'net/netif_receive_skb']) {
    if (lengths !== undefined && event !== 'skb/kfree_skb') {
      const all = new Set(lengths.flatMap((length) => IN_FRONT.map((more) => length + more)));
      write(`events/${event}/filter`, [...all].map((length) => `len == ${length}`).join(' || '));
    }
    write(`events/${event}/enable`, '1');
  }
}

/** Nanoseconds from the trace's clock to that of packets. Read one after the other, so whatever comes in between makes it too small. */
function clockOffset(): bigint {
  const offsets = Array.from({ length: 8 }, () => {
    const { realtime, monotonic } = clocks();
    return realtime - monotonic;
  });
  const [largest = 0n] = offsets.sort((a, b) => (a > b ? -1 : 1));
  return largest;
}

/** One line of the trace. */
export interface TraceLine {
  /** Nanoseconds since 1970. */
  at: bigint;
  pid: number;
  processor: number;
  event: string;
  fields: Readonly<Record<string, string>>;
}

/** `   ping-123   [001] b..1.  1234.567890: kfree_skb: skbaddr=... protocol=2048 location=ip_rcv+0x1 reason: NO_SOCKET` */
const LINE = /-(\d+)\s+\[(\d+)\]\s+\S+\s+(\d+)\.(\d{6}): (\w+): (.*)$/;

export function parseTrace(text: string, offset = clockOffset()): TraceLine[] {
  return text.split('\n').flatMap((line) => {
    const [, pid, processor, seconds, micros, event, rest] = LINE.exec(line) ?? [];
    if (pid === undefined || seconds === undefined || micros === undefined || !event || rest === undefined)
      return [];
    const fields = Object.fromEntries(
      [...rest.matchAll(/(\w+)(?:=|: )(\S+)/g)].map(([, key, value]) => [key ?? '', value ?? '']),
    );
    const at = BigInt(seconds) * 1_000_000_000n + BigInt(micros) * 1000n + offset;
    return [{ at, pid: Number(pid), processor: Number(processor), event, fields }];
  });
}

/** Drops of packets of ours, and those that happened in our own send(2). */
export function correlate(
  lines: readonly TraceLine[],
  packets: readonly SeenPacket[],
  pid: number,
): FoundDrop[] {
  const sights = new Map<string, TraceLine>();
  const drops: FoundDrop[] = [];
  for (const line of lines) {
    const { skbaddr = '', reason = '', location = '' } = line.fields;
    if (line.event !== 'kfree_skb') {
      sights.set(skbaddr, line);
      continue;
    }
    const sight = sights.get(skbaddr);
    sights.delete(skbaddr);
    const seen = sight && isStillThere(sight, line) ? packetOf(sight, packets) : undefined;
    if (seen !== undefined) {
      const { place, link } = seen;
      drops.push({
        at: line.at,
        reason,
        location,
        certainty: 'exact',
        place,
        link,
        way: seen.way as Way,
        packet: seen,
      });
    } else if (sight === undefined && line.pid === pid) {
      drops.push({ at: line.at, reason, location, certainty: 'likely' });
    }
  }
  return drops;
}

/** Addresses are used again by other packets soon after. */
function isStillThere(sight: TraceLine, drop: TraceLine): boolean {
  const age = drop.at - sight.at;
  if (drop.fields.reason?.startsWith('NEIGH')) return age < STALE_NEIGHBOUR;
  return age < STALE && sight.processor === drop.processor;
}

/** The packet of ours that was on this link at that time, with this length. */
function packetOf(line: TraceLine, packets: readonly SeenPacket[]): SeenPacket | undefined {
  const { dev, len } = line.fields;
  const isIn = line.event === 'netif_receive_skb';
  const distance = (seen: SeenPacket) => (seen.at > line.at ? seen.at - line.at : line.at - seen.at);
  const fitting = packets.filter(
    (seen) =>
      seen.way !== undefined &&
      seen.link === dev &&
      (seen.direction === 'in') === isIn &&
      seen.length - (isIn ? ETHERNET_HEADER : 0) === Number(len) &&
      distance(seen) < SAME,
  );
  return fitting.reduce<SeenPacket | undefined>(
    (best, seen) => (best && distance(best) <= distance(seen) ? best : seen),
    undefined,
  );
}
