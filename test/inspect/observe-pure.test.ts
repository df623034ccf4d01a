/** How packets are told apart, filtered, and tied to what the kernel says of them: without a kernel. */
import fc from 'fast-check';
import t from 'tap';
import { correlate, parseTrace } from '../../inspect/observe/drops.ts';
import { flowFilter } from '../../inspect/observe/filter.ts';
import { type Flow, fingerprint, type Pattern, wayOf } from '../../inspect/observe/flow.ts';
import { stepsOf } from '../../inspect/observe/merge.ts';
import type { SeenPacket, SeenRule } from '../../inspect/observe/request.ts';
import { reasonWords } from '../../inspect/observe/ways.ts';
import { decodeFrame } from '../../inspect/packet/decode.ts';
import { parseIp } from '../../netlink/codec.ts';
import { run } from './bpf.ts';
import '../support/seed.ts';

const ADDRESSES = { 4: ['10.0.0.1', '10.0.0.2'], 6: ['fd00::1', 'fd00::2'] } as const;
const PORTS = [53, 40_001];
const u16 = (...values: number[]) => values.flatMap((value) => [value >> 8, value & 0xff]);

interface Shape {
  family: 4 | 6;
  protocol: number;
  source: number;
  destination: number;
  ports: readonly [number, number];
  type: number;
}

function transport({ family, protocol, ports, type }: Shape, about: readonly number[] = []): number[] {
  if (protocol === 6) return [...u16(...ports), 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, ...u16(0, 0, 0)];
  if (protocol === 17) return [...u16(...ports, 8 + 4, 0), 1, 2, 3, 4];
  const error = family === 4 ? 3 : 1;
  return type === error ? [type, 0, ...u16(0, 0, 0), ...about] : [type, 0, ...u16(0, ports[0], 1)];
}

function ip(shape: Shape, payload: readonly number[]): number[] {
  const { family, protocol } = shape;
  const [from, to] = [shape.source, shape.destination].map((at) => [...parseIp(ADDRESSES[family][at] ?? '')]);
  if (family === 4)
    return [
      0x45,
      0,
      ...u16(20 + payload.length, 7, 0),
      64,
      protocol,
      0,
      0,
      ...(from ?? []),
      ...(to ?? []),
      ...payload,
    ];
  return [0x60, 0, 0, 0, ...u16(payload.length), protocol, 64, ...(from ?? []), ...(to ?? []), ...payload];
}

function ether(family: 4 | 6, packet: readonly number[]): number[] {
  return [...Array(12).fill(2), ...u16(family === 4 ? 0x0800 : 0x86dd), ...packet];
}

function tunnel(family: 4 | 6, frame: readonly number[]): number[] {
  const udp = [...u16(50_000, 4789, 16 + frame.length, 0), 8, 0, 0, 0, 0, 0, 42, 0, ...frame];
  return ether(family, ip({ family, protocol: 17, source: 0, destination: 1, ports: [0, 0], type: 0 }, udp));
}

const shapes = fc.record({
  family: fc.constantFrom<4 | 6>(4, 6),
  protocol: fc.constantFrom(1, 6, 17, 58),
  source: fc.nat(1),
  destination: fc.nat(1),
  ports: fc.tuple(fc.constantFrom(...PORTS), fc.constantFrom(...PORTS)),
  type: fc.constantFrom(0, 8, 3, 1, 128, 129, 135),
});
const frames = fc
  .record({ shape: shapes, about: shapes, wrapped: fc.constantFrom<0 | 4 | 6>(0, 0, 4, 6) })
  .map(({ shape, about, wrapped }) => {
    const inner = { ...about, family: shape.family };
    const frame = ether(shape.family, ip(shape, transport(shape, ip(inner, transport(inner)))));
    return Uint8Array.from(wrapped === 0 ? frame : tunnel(wrapped, frame));
  });
const flows = fc
  .record({
    family: fc.constantFrom<4 | 6>(4, 6),
    protocol: fc.constantFrom(1, 6, 17, 58),
    tunnels: fc.constantFrom<number[]>([], [4789]),
    patterns: fc.array(
      fc.record(
        {
          source: fc.nat(1),
          destination: fc.nat(1),
          sourcePort: fc.constantFrom(...PORTS),
          destinationPort: fc.constantFrom(...PORTS),
        },
        { requiredKeys: [] },
      ),
      { minLength: 1, maxLength: 4 },
    ),
  })
  .map(({ patterns, protocol, ...rest }): Flow => {
    const address = (at: number | undefined) => (at === undefined ? undefined : ADDRESSES[rest.family][at]);
    const isEcho = protocol === 1 || protocol === 58;
    return {
      ...rest,
      protocol: isEcho ? (rest.family === 4 ? 1 : 58) : protocol,
      patterns: patterns.map(({ source, destination, destinationPort, ...pattern }) => {
        const [from, to] = [address(source), address(destination)];
        const made: Pattern = {
          ...pattern,
          ...(from ? { source: from } : {}),
          ...(to ? { destination: to } : {}),
        };
        return isEcho || destinationPort === undefined ? made : { ...made, destinationPort };
      }),
    };
  });

t.test('the kernel lets through what belongs to a flow, and nearly nothing else', async (t) => {
  let [ours, more, rejected] = [0, 0, 0];
  fc.assert(
    fc.property(flows, fc.array(frames, { minLength: 10, maxLength: 20 }), (flow, several) => {
      const filter = flowFilter(flow, 256);
      for (const frame of several) {
        const taken = run(filter, frame);
        const belongs = wayOf(flow, decodeFrame(frame, flow.tunnels)) !== undefined;
        if (belongs && taken !== 256) throw new Error('a packet of the flow is not let through');
        if (belongs) ours++;
        else if (taken > 0) more++;
        else rejected++;
      }
    }),
    { numRuns: 300 },
  );
  t.ok(ours > 100, `${ours} of the flow`);
  t.ok(rejected > 500, `${rejected} rejected`);
  t.ok(more < rejected / 10, `${more} for neighbours, or to be looked at again`);
});

t.test('any bytes are filtered', async () => {
  fc.assert(
    fc.property(
      flows,
      fc.uint8Array({ maxLength: 120 }),
      (flow, bytes) => void run(flowFilter(flow, 256), bytes),
    ),
  );
});

const FLOW: Flow = { family: 4, protocol: 17, patterns: [{ sourcePort: 40_001 }], tunnels: [4789] };
const UDP: Shape = { family: 4, protocol: 17, source: 0, destination: 1, ports: [40_001, 53], type: 0 };
const there = ether(4, ip(UDP, transport(UDP)));

t.test('ways', async (t) => {
  const way = (frame: readonly number[]) => wayOf(FLOW, decodeFrame(Uint8Array.from(frame)));
  const answer: Shape = { ...UDP, source: 1, destination: 0, ports: [53, 40_001] };
  const error: Shape = { ...UDP, protocol: 1, source: 1, destination: 0, type: 3 };
  t.equal(way(there), 'there');
  t.equal(way(ether(4, ip(answer, transport(answer)))), 'back');
  t.equal(way(ether(4, ip(error, transport(error, ip(UDP, transport(UDP)))))), 'back', 'an error about it');
  t.equal(way(tunnel(6, there)), 'there', 'through a tunnel');
  t.equal(way(ether(4, ip({ ...UDP, ports: [1, 2] }, transport({ ...UDP, ports: [1, 2] })))), undefined);
});

const packet = decodeFrame(Uint8Array.from(there));
const place = { host: 'this host', namespace: '4:1' };
const seen = (at: bigint, link: string, direction: 'in' | 'out'): SeenPacket => ({
  ...{ at, place, link, direction, way: 'there', packet, length: there.length },
  ...{ bytes: Uint8Array.from(there), linkType: 1 },
});

t.test('rules stand where the packet met them', async (t) => {
  const rule = (chain: string, links: Partial<SeenRule>, begins = true): SeenRule => ({
    ...{ place, id: 7, family: 'inet', table: 'f', chain, what: 'rule', handle: 1, verdict: 'continue' },
    ...(begins ? { packet } : {}),
    ...links,
  });
  const packets = [seen(30n, 'up', 'out'), seen(10n, 'veth', 'in'), seen(10n, 'br', 'in')].sort((a, b) =>
    Number(a.at - b.at),
  );
  const rules = [
    rule('pre', { iif: 'br' }),
    rule('jumped', {}, false),
    rule('forward', { iif: 'br', oif: 'up' }),
    rule('other', { iif: 'br', id: 8, packet: decodeFrame(Uint8Array.from(tunnel(4, []))) }),
  ];
  const known = { ports: () => [], rank: () => undefined };
  const steps = stepsOf({ packet, way: 'there', flow: FLOW }, packets, rules, known);
  t.same(
    steps.map((step) => ('seen' in step ? `${step.seen.direction} ${step.seen.link}` : step.rule.chain)),
    ['in veth', 'in br', 'pre', 'jumped', 'forward', 'out up'],
  );
  const bridged = stepsOf({ packet, way: 'there', flow: FLOW }, packets.slice(0, 1), rules.slice(0, 1), {
    ...known,
    ports: (_, link) => (link === 'br' ? ['veth'] : []),
  });
  t.equal(bridged.length, 2);
  t.ok(bridged[0] && 'seen' in bridged[0], 'a bridge that calls iptables: after its port');
  t.not(fingerprint(packet), fingerprint({ ...packet, udp: { length: 99, hasChecksum: true } }));
});

t.test('drops are tied to packets by the address of the kernel', async (t) => {
  const trace = `# tracer: nop
          <idle>-0       [001] b.s3.   100.000001: netif_receive_skb: dev=veth skbaddr=000000001 len=${there.length - 14}
          <idle>-0       [001] b.s3.   100.000002: kfree_skb: skbaddr=000000001 rx_sk=0000000000000000 protocol=2048 location=ip_rcv_finish_core+0x25b/0x470 reason: IP_RPFILTER
          <idle>-0       [001] b.s3.   100.000003: kfree_skb: skbaddr=000000002 rx_sk=0000000000000000 protocol=2048 location=somebody+0x1/0x2 reason: NOT_SPECIFIED
          <idle>-0       [001] b.s3.   100.000004: netif_receive_skb: dev=veth skbaddr=000000003 len=${there.length - 14}
          <idle>-0       [000] b.s3.   100.000005: kfree_skb: skbaddr=000000003 rx_sk=0000000000000000 protocol=2048 location=elsewhere+0x1/0x2 reason: NOT_SPECIFIED
          node-4242      [000] b.s3.   100.000006: kfree_skb: skbaddr=000000004 rx_sk=0000000000000000 protocol=2048 location=ip_local_out+0x1/0x2 reason: NETFILTER_DROP
`;
  const lines = parseTrace(trace, 5_000_000_000n);
  t.equal(lines.length, 6);
  t.match(lines[0], {
    at: 105_000_001_000n,
    event: 'netif_receive_skb',
    fields: { dev: 'veth' },
    processor: 1,
  });
  const drops = correlate(lines, [seen(105_000_000_900n, 'veth', 'in')], 4242);
  t.match(drops, [
    {
      reason: 'IP_RPFILTER',
      certainty: 'exact',
      link: 'veth',
      way: 'there',
      location: /^ip_rcv_finish_core/,
    },
    { reason: 'NETFILTER_DROP', certainty: 'likely' },
  ]);
  t.equal(drops.length, 2, 'an address that was used again elsewhere is not ours');
  t.same(correlate(lines, [seen(105_000_000_900n, 'other', 'in')], 1), []);
  t.equal(reasonWords('NEW_REASON'), 'the kernel dropped it: NEW_REASON');
});

t.test('neighbours of IPv6 are asked for by ICMP between the same addresses', async (t) => {
  // Rewritten by a masquerade, whose identifier nobody knows beforehand.
  const flow: Flow = {
    family: 6,
    protocol: 58,
    patterns: [{ source: 'fd00::1', destination: 'fd00::2' }],
    tunnels: [],
  };
  const way = (type: number, source: number, destination: number) => {
    const shape: Shape = { family: 6, protocol: 58, source, destination, ports: [7, 7], type };
    return wayOf(flow, decodeFrame(Uint8Array.from(ether(6, ip(shape, transport(shape)))), []));
  };
  t.equal(way(128, 0, 1), 'there');
  t.equal(way(129, 1, 0), 'back');
  for (const type of [135, 136]) t.same([way(type, 0, 1), way(type, 1, 0)], [undefined, undefined]);
});
