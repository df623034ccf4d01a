/**
 * What really happens to a packet: one is sent (or awaited), and looked at on all links, by all rules and where the kernel gives it up.
 * Needs neither eBPF nor kprobes. All that is put into the kernel for it goes with this process, however that ends.
 */
import type { Door } from '../../netlink/door.ts';
import { clocks } from '../../netlink/socket.ts';
import type { Place, Tuple } from '../path/hop.ts';
import { protocolNumber } from '../path/packet.ts';
import { answerIn } from './answer.ts';
import { type Capture, capture, linksOf, type OpenSite, tunnelPorts } from './capture.ts';
import { type DropWatch, type FoundDrop, watchDrops } from './drops.ts';
import { type Flow, fingerprint, isAnswerTo, isEcho, type Pattern } from './flow.ts';
import { tupleOf } from './hops.ts';
import { hasLegacy, watchLegacy } from './legacy.ts';
import { firstOf } from './merge.ts';
import { openProbe, type Probe } from './probe.ts';
import type { Answer, Observation, ObserveRequest, SeenPacket, SeenRule, Site } from './request.ts';
import { TABLE, watchRules } from './rules.ts';
import { waysOf } from './ways.ts';

/** What an observation needs of its surroundings. */
export interface ObserveAmbient {
  door: Door;
  /** Number of this process: names what is put into the kernel. */
  pid: number;
  /** Ends it early; what was seen until then is the answer. */
  signal?: AbortSignal;
  /** Called once all of it looks: what comes from then on is seen. */
  ready?(): void;
}

const MOST_PACKETS = 1000;
/** Milliseconds for what is on its way from the kernel when the end is known. */
const SETTLE = 50;
/** Milliseconds for an answer after a rule gave the packet up: it may be rejected in words. */
const GRACE = 300;

/** Throws an Error with `code` where a namespace cannot be opened, or no probe of that protocol can be sent. */
export async function observe(request: ObserveRequest, ambient: ObserveAmbient): Promise<Observation> {
  const run = new Run(request, ambient);
  try {
    await run.open();
    await run.watch();
    return await run.result();
  } finally {
    await run.close();
  }
}

class Run {
  readonly #request: ObserveRequest;
  readonly #ambient: ObserveAmbient;
  readonly #sites: OpenSite[] = [];
  readonly #closers: (() => Promise<void> | void)[] = [];
  readonly #captures: Capture[] = [];
  readonly #packets: SeenPacket[] = [];
  readonly #rules: SeenRule[] = [];
  readonly #notSeen = new Set<string>();
  #probe: Probe | undefined;
  #drops: DropWatch | undefined;
  #refused: string | undefined;
  #flow: Flow = { family: 4, protocol: 0, patterns: [], tunnels: [] };
  /** Nanoseconds since 1970; what was seen before is no part of it, as not everybody looked yet. */
  #start: bigint | undefined;
  /** Called at whatever is seen. */
  #look: () => void = () => {};

  constructor(request: ObserveRequest, ambient: ObserveAmbient) {
    this.#request = request;
    this.#ambient = ambient;
  }

  async open(): Promise<void> {
    const { door } = this.#ambient;
    for (const site of this.#request.sites) {
      const ns = await door.open(site.path);
      this.#closers.push(() => ns.close());
      this.#sites.push({ ...site, ns, links: await linksOf(ns) });
    }
    this.#probe = await this.#openProbe();
    const flow = this.#makeFlow();
    this.#flow = flow;
    await Promise.all(this.#sites.map((site) => this.#openSite(site, flow)));
    try {
      this.#drops = await watchDrops(flow.family, this.#ambient.pid, this.#probe?.lengths);
    } catch (error) {
      this.#notSeen.add(`why the kernel drops packets: ${(error as Error).message}`);
    }
  }

  async #openProbe(): Promise<Probe | undefined> {
    const { sender, tuple, size } = this.#request;
    if (sender === undefined) return undefined;
    const site = this.#sites.find(({ place }) => place.namespace === sender.place.namespace);
    if (site === undefined) throw new Error('the sender is none of the namespaces to look into');
    const target = { ...tuple, size, protocol: protocolNumber(tuple.protocol) };
    const probe = await openProbe(site.ns, target, (errno) => {
      // A connection that has not begun yet is looked at as well.
      if (errno === 'ENOTCONN') return;
      this.#refused ??= errno;
      this.#look();
    });
    this.#closers.push(() => probe.close());
    return probe;
  }

  #makeFlow(): Flow {
    const { tuple, rewritten } = this.#request;
    const protocol = protocolNumber(tuple.protocol);
    const own: Pattern =
      this.#probe === undefined ? pattern(tuple, protocol) : { sourcePort: this.#probe.sourcePort };
    const others = rewritten.map(({ sourcePort: _, ...each }) => pattern(each, protocol));
    return {
      family: tuple.family,
      protocol,
      patterns: [own, ...others],
      tunnels: [...new Set(this.#sites.flatMap(({ links }) => tunnelPorts(links.values())))],
    };
  }

  async #openSite(site: OpenSite, flow: Flow): Promise<void> {
    const { mostPackets = MOST_PACKETS, snapLength = 256 } = this.#request;
    const captured = await capture(site, flow, snapLength, (packet) => {
      if (this.#start === undefined || packet.at < this.#start) return;
      if (this.#packets.length < mostPackets) this.#packets.push(packet);
      else this.#notSeen.add(`packets after the first ${mostPackets}`);
      this.#look();
    });
    this.#captures.push(captured);
    this.#closers.push(() => captured.close());
    const seen = (rule: SeenRule) => {
      if (this.#rules.length < mostPackets * 10) this.#rules.push(rule);
      this.#look();
    };
    try {
      // First, so that it is there when packets are marked.
      if (hasLegacy(site.ruleset)) {
        const legacy = await watchLegacy(site, flow, seen);
        this.#closers.push(() => legacy.close());
      }
    } catch (error) {
      this.#notSeen.add(`rules of legacy iptables ${where(site.place)}: ${(error as Error).message}`);
    }
    try {
      const table = `${TABLE}${this.#ambient.pid}-${process.hrtime.bigint()}`;
      const lacking = (words: string) => this.#notSeen.add(words);
      const watched = await watchRules(this.#ambient.door, site, flow, table, seen, lacking);
      this.#closers.push(() => watched.close());
    } catch (error) {
      this.#notSeen.add(`rules of nf_tables ${where(site.place)}: ${(error as Error).message}`);
    }
  }

  /** Until there is an answer, it is certain that there will be none, or time is up. */
  async watch(): Promise<void> {
    const end = Date.now() + this.#request.seconds * 1000;
    const { signal } = this.#ambient;
    this.#start = clocks().realtime;
    this.#ambient.ready?.();
    try {
      this.#probe?.send();
    } catch (error) {
      this.#refused = (error as { code?: string }).code ?? String(error);
    }
    await new Promise<void>((resolve) => {
      let timer = setTimeout(resolve, Math.max(0, end - Date.now()));
      const within = (milliseconds: number) => {
        clearTimeout(timer);
        timer = setTimeout(resolve, Math.min(milliseconds, Math.max(0, end - Date.now())));
      };
      signal?.addEventListener('abort', () => within(0), { once: true });
      let isEnding = false;
      let isGivenUp = false;
      this.#look = () => {
        if (!isEnding && this.#isComplete()) {
          isEnding = true;
          within(SETTLE);
        } else if (!isEnding && !isGivenUp && this.#probe !== undefined && this.#isDropped()) {
          isGivenUp = true;
          within(GRACE);
        }
      };
      this.#look();
    });
    this.#look = () => {};
  }

  #isComplete(): boolean {
    if (this.#packets.length >= (this.#request.mostPackets ?? MOST_PACKETS)) return true;
    if (this.#refused !== undefined && this.#probe !== undefined) return true;
    if (this.#probe !== undefined) return this.#answer().kind !== 'none';
    const answered = new Set(
      this.#packets.filter(({ way }) => way === 'back').map(({ packet }) => JSON.stringify(tupleOf(packet))),
    );
    return answered.size >= (this.#request.flows ?? 1);
  }

  #isDropped(): boolean {
    return this.#rules.some(({ verdict }) => verdict === 'drop');
  }

  #answer(): Answer {
    const first = firstOf(this.#packets, 'there');
    const found = answerIn(this.#conversation(), this.#request.sender, first?.at ?? this.#start ?? 0n);
    if (found !== undefined) return found;
    return this.#refused === undefined ? { kind: 'none' } : { kind: 'refused', errno: this.#refused };
  }

  /** When watching: the first one of those that fit. */
  #conversation(): readonly SeenPacket[] {
    const first = firstOf(this.#packets, 'there');
    if (this.#probe !== undefined || first === undefined) return this.#packets;
    return this.#packets.filter(({ way, packet }) => way !== 'back' || isAnswerTo(first.packet, packet));
  }

  async result(): Promise<Observation> {
    for (const captured of this.#captures) {
      const lost = captured.lost();
      if (lost > 0) this.#notSeen.add(`${lost} packets, for which there was no room`);
    }
    const { sender } = this.#request;
    const answer = this.#answer();
    const drops = ((await this.#takeDrops()) ?? []).filter((drop) =>
      isReal(drop, this.#packets, answer, sender),
    );
    const gathered = { flow: this.#flow, packets: this.#conversation(), rules: this.#rules, drops };
    const hops = waysOf({
      ...gathered,
      answer,
      sender,
      start: this.#start ?? 0n,
      sent: this.#sent(),
      sites: this.#sites,
    });
    const tuple = hops[0]?.tuple;
    return {
      ...(tuple === undefined ? {} : { tuple }),
      hops,
      packets: [...this.#packets].sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0)),
      rules: this.#rules,
      drops: drops.map(({ packet: _, ...drop }) => drop),
      answer,
      notSeen: [...this.#notSeen],
    };
  }

  #sent(): Tuple | undefined {
    const { tuple } = this.#request;
    const source = this.#probe?.source() ?? tuple.source;
    if (this.#probe === undefined || source === undefined) return undefined;
    return isEcho(this.#flow.protocol)
      ? { ...tuple, source }
      : { ...tuple, source, sourcePort: this.#probe.sourcePort };
  }

  async #takeDrops() {
    const drops = this.#drops;
    this.#drops = undefined;
    return await drops?.finish(this.#packets);
  }

  async close(): Promise<void> {
    for (const close of this.#closers.splice(0).reverse()) await close();
    await this.#takeDrops();
  }
}

function pattern(tuple: Partial<Tuple>, protocol: number): Pattern {
  const { source, destination, sourcePort, destinationPort } = tuple;
  return {
    ...(source === undefined ? {} : { source }),
    ...(destination === undefined ? {} : { destination }),
    ...(sourcePort === undefined ? {} : { sourcePort }),
    ...(destinationPort === undefined || isEcho(protocol) ? {} : { destinationPort }),
  };
}

/**
 * Of an echo's answer the kernel says that no other program took it; of a packet that went on or was answered, that it gave up a copy, or
 * another that had its address.
 */
function isReal(
  { at, way, packet, place }: FoundDrop,
  packets: readonly SeenPacket[],
  answer: Answer,
  sender: Site | undefined,
): boolean {
  if (packet === undefined) return true;
  if (way === 'back' && place?.namespace === sender?.place.namespace) return false;
  if (way === 'there' && (answer.kind === 'reply' || answer.kind === 'syn-ack')) return false;
  const print = fingerprint(packet.packet);
  return !packets.some((each) => each.way === way && each.at > at && fingerprint(each.packet) === print);
}

function where({ host, container }: Place): string {
  return `of ${container ?? host}`;
}

export type { Observation, ObserveRequest, Site };
