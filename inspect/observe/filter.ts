/**
 * The packets of a flow as a program of classic BPF (https://www.kernel.org/doc/html/latest/networking/filter.html), for a packet socket:
 * what is certainly none of it never leaves the kernel. What it lets through is looked at again.
 */
import { parseIp } from '../../netlink/codec.ts';
import { LITTLE_ENDIAN } from '../../netlink/writer.ts';
import { ETHER, PROTOCOL } from '../packet/decode.ts';
import { type Flow, isEcho, type Pattern, turned } from './flow.ts';

/** Offsets from the network header, whatever the link's own header is. */
const SKF_NET_OFF = -0x100000;
const SKF_AD_PROTOCOL = -0x1000;

const LD_H = 0x28;
const LD_B_IND = 0x50;
const LD_H_IND = 0x48;
const LD_W_IND = 0x40;
const LDX_MEM = 0x61;
const STX = 0x03;
const LD_IMM = 0x00;
const AND = 0x54;
const ADD = 0x04;
const LSH = 0x64;
const TAX = 0x07;
const TXA = 0x87;
const JEQ = 0x15;
const JA = 0x05;
const RET = 0x06;

/** One instruction; jumps name a label that comes later. */
type Line = { code: number; k: number; hit?: string; miss?: string } | { label: string };

class Program {
  readonly #lines: Line[] = [];
  #labels = 0;

  load(code: number, k: number): this {
    this.#lines.push({ code, k });
    return this;
  }

  /** Goes to a label when the accumulator is one of the values, else on. */
  any(values: readonly number[], label: string): this {
    for (const value of values) {
      const next = this.fresh();
      this.#lines.push({ code: JEQ, k: value, hit: 'yes', miss: next });
      this.#trampoline(label, next);
    }
    return this;
  }

  /** Goes to a label unless the accumulator is the value. */
  unless(value: number, label: string): this {
    const next = this.fresh();
    this.#lines.push({ code: JEQ, k: value, hit: next, miss: 'no' });
    this.#trampoline(label, next);
    return this;
  }

  go(label: string): this {
    this.#lines.push({ code: JA, k: 0, hit: label });
    return this;
  }

  label(label: string): this {
    this.#lines.push({ label });
    return this;
  }

  fresh(): string {
    this.#labels += 1;
    return `l${this.#labels}`;
  }

  /** A conditional jump reaches 255 lines, `ja` any: so it is `ja` that leaves. */
  #trampoline(label: string, next: string): void {
    const last = this.#lines.at(-1);
    if (last === undefined || !('code' in last)) return;
    const jump = this.fresh();
    if (last.hit === 'yes') last.hit = jump;
    if (last.miss === 'no') last.miss = jump;
    this.label(jump).go(label).label(next);
  }

  /** struct sock_filter, one after the other. */
  finish(): Uint8Array {
    const places = new Map<string, number>();
    let count = 0;
    for (const line of this.#lines) {
      if ('label' in line) places.set(line.label, count);
      else count += 1;
    }
    const bytes = new Uint8Array(count * 8);
    const view = new DataView(bytes.buffer);
    let at = 0;
    for (const line of this.#lines) {
      if ('label' in line) continue;
      const over = (label: string | undefined) =>
        label === undefined ? 0 : (places.get(label) ?? 0) - at - 1;
      view.setUint16(at * 8, line.code, LITTLE_ENDIAN);
      if (line.code === JEQ) {
        view.setUint8(at * 8 + 2, over(line.hit));
        view.setUint8(at * 8 + 3, over(line.miss));
      }
      view.setInt32(at * 8 + 4, line.code === JA ? over(line.hit) : line.k | 0, LITTLE_ENDIAN);
      at += 1;
    }
    return bytes;
  }
}

/** Scratch memory: where the IP header is, and where the transport header, from the network header on. */
const [IP, TRANSPORT] = [0, 1];

/** Goes to `yes` or `no`: whether addresses and ports are those of a pattern. X is at the transport header, IP says where IP's is. */
function matches(to: Program, flow: Flow): void {
  to.load(STX, TRANSPORT);
  for (const pattern of flow.patterns.flatMap((each) => [each, turned(each)])) {
    const next = to.fresh();
    to.load(LDX_MEM, TRANSPORT);
    for (const [offset, port] of portsOf(flow, pattern)) {
      to.load(LD_H_IND, SKF_NET_OFF + offset).unless(port, next);
    }
    to.load(LDX_MEM, IP);
    const [source, destination] = flow.family === 4 ? [12, 16] : [8, 24];
    for (const [offset, word] of [
      ...words(source, pattern.source),
      ...words(destination, pattern.destination),
    ]) {
      to.load(LD_W_IND, SKF_NET_OFF + offset).unless(word, next);
    }
    to.go('yes').label(next);
  }
  to.go('no');
}

type Expected = readonly [offset: number, value: number];

function portsOf({ protocol }: Flow, { sourcePort, destinationPort }: Pattern): Expected[] {
  const at = isEcho(protocol) ? [4, 4] : [0, 2];
  return [sourcePort, destinationPort].flatMap((port, i) => (port === undefined ? [] : [[at[i] ?? 0, port]]));
}

function words(offset: number, address: string | undefined): Expected[] {
  if (address === undefined) return [];
  const bytes = parseIp(address);
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  return Array.from({ length: bytes.length / 4 }, (_, i) => [offset + i * 4, view.getUint32(i * 4)] as const);
}

/** An error's own packet begins 8 bytes later, with a header of the usual size. */
function errors(to: Program, flow: Flow): void {
  const types = flow.family === 4 ? [3, 4, 5, 11, 12] : [1, 2, 3, 4];
  const found = to.fresh();
  const end = to.fresh();
  to.load(LD_B_IND, SKF_NET_OFF).any(types, found).go(end).label(found);
  to.load(LD_B_IND, SKF_NET_OFF + 8 + (flow.family === 4 ? 9 : 6)).unless(flow.protocol, 'no');
  shift(to, 8);
  to.load(STX, IP);
  shift(to, flow.family === 4 ? 20 : 40);
  matches(to, flow);
  to.label(end);
}

function shift(to: Program, bytes: number): void {
  to.load(TXA, 0).load(ADD, bytes).load(TAX, 0);
}

/** An IP packet of the flow's family whose header is at X. `depth`: whether it is within a tunnel. */
function ip(to: Program, flow: Flow, depth: number): void {
  const v4 = flow.family === 4;
  const [own, tcpUdp, icmp] = [to.fresh(), to.fresh(), v4 ? PROTOCOL.icmp : PROTOCOL.icmpv6];
  const isTunnel = to.fresh();
  to.load(STX, IP).load(LD_B_IND, SKF_NET_OFF + (v4 ? 9 : 6));
  to.any([flow.protocol], own).any([icmp], tcpUdp);
  if (depth === 0 && flow.tunnels.length > 0) to.any([PROTOCOL.udp], isTunnel);
  to.go('no');
  for (const [label, isOwn] of [
    [own, true],
    [tcpUdp, false],
  ] as const) {
    to.label(label);
    header(to, v4);
    if (flow.protocol === icmp || !isOwn) errors(to, flow);
    if (isOwn && flow.protocol === PROTOCOL.udp && depth === 0) inTunnel(to, flow);
    if (isOwn) matches(to, flow);
    // Neighbour discovery.
    else if (!v4) to.load(LD_B_IND, SKF_NET_OFF).any([135, 136], 'yes').go('no');
    else to.go('no');
  }
  // Within a tunnel there is none to jump back to.
  if (depth > 0) return;
  to.label(isTunnel);
  header(to, v4);
  inTunnel(to, flow);
  to.go('no');
}

/** Adds the length of the IP header at X to X. */
function header(to: Program, v4: boolean): void {
  if (!v4) {
    shift(to, 40);
    return;
  }
  // A = 4 * (first byte & 15); A + X has no place to wait in but X itself.
  to.load(LD_B_IND, SKF_NET_OFF).load(AND, 15).load(LSH, 2).load(0x0c, 0).load(TAX, 0);
}

/** Goes to `tunnel` when the UDP header at X is one of VXLAN's, else on. */
function inTunnel(to: Program, flow: Flow): void {
  if (flow.tunnels.length === 0) return;
  to.load(LD_H_IND, SKF_NET_OFF + 2).any(flow.tunnels, 'tunnel');
}

/** `length`: bytes that are kept of each packet. */
export function flowFilter(flow: Flow, length: number): Uint8Array {
  const to = new Program();
  const type = flow.family === 4 ? ETHER.ip : ETHER.ip6;
  to.load(LD_H, SKF_AD_PROTOCOL);
  const [own, other] = [to.fresh(), to.fresh()];
  to.any([type], own).any([flow.family === 4 ? ETHER.ip6 : ETHER.ip], other);
  if (flow.family === 4) to.any([ETHER.arp], 'yes');
  to.go('no').label(own).load(LD_IMM, 0).load(TAX, 0);
  ip(to, flow, 0);
  // A tunnel of the other family, which may carry it all the same.
  to.label(other);
  if (flow.tunnels.length > 0) {
    to.load(LD_IMM, 0)
      .load(TAX, 0)
      .load(LD_B_IND, SKF_NET_OFF + (flow.family === 4 ? 6 : 9))
      .unless(PROTOCOL.udp, 'no');
    header(to, flow.family !== 4);
    inTunnel(to, flow);
  }
  to.go('no').label('tunnel');
  // UDP, VXLAN, Ethernet.
  to.load(LD_H_IND, SKF_NET_OFF + 8 + 8 + 12);
  if (flow.family === 4) to.any([ETHER.arp], 'yes');
  to.unless(type, 'no');
  shift(to, 8 + 8 + 14);
  ip(to, flow, 1);
  to.label('yes').load(RET, length).label('no').load(RET, 0);
  return to.finish();
}
