/** Our requests, attribute by attribute, against what iproute2, nft and ipset send for the same thing. */
import { readFileSync } from 'node:fs';
import t from 'tap';
import { type Attribute, pieces, type Table } from '../../netlink/attributes.ts';
import { AF_BRIDGE } from '../../netlink/codec.ts';
import { type Message, NLM_F_ACK, NLMSG_HEADER } from '../../netlink/message.ts';
import { align } from '../../netlink/writer.ts';
import { CASES } from './golden/cases.ts';
import { describedBy } from './tables.ts';

type Captured = Record<string, { command: string; hex: string }>;
const captured = JSON.parse(
  readFileSync(new URL('golden/captured.json', import.meta.url), 'utf8'),
) as Captured;

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

/** `IFLA_LINKINFO.IFLA_INFO_KIND: 766574680`: one line for each attribute that holds no others. */
function* lines(table: Table, list: Uint8Array, prefix = ''): Generator<string> {
  const seen: Record<string, unknown> = {};
  for (const { number, payload } of pieces(list)) {
    const readings = Object.entries(table).filter(([, { number: known }]) => known === number);
    const found =
      readings.length === 1
        ? readings[0]
        : readings.find(([, { when }]) => !when || seen[when[0]] === when[1]);
    const [key, { name, codec }] = found ?? [
      '',
      { name: `number ${number}`, codec: {} } as Attribute<unknown>,
    ];
    if (codec.inside !== undefined) {
      // VETH_INFO_PEER begins with a struct, which says more than its attributes.
      const start = name === 'VETH_INFO_PEER' ? 16 : 0;
      if (start > 0) yield `${prefix}${name}: ${hex(payload.subarray(0, start))}`;
      yield* lines(codec.inside as Table, payload.subarray(start), `${prefix}${name}.`);
    } else if (codec.element?.inside !== undefined) {
      for (const one of pieces(payload))
        yield* lines(codec.element.inside as Table, one.payload, `${prefix}${name}[].`);
    } else {
      seen[key] = codec.read?.(payload);
      // Programs differ in whether a name's terminator and a byte's padding are part of it.
      yield `${prefix}${name}: ${hex(payload).replace(/(00)+$/, '') || '00'}`;
    }
  }
}

function* messages(buffer: Buffer): Generator<Buffer> {
  for (let at = 0; at + NLMSG_HEADER <= buffer.length; ) {
    const length = buffer.readUInt32LE(at);
    if (length < NLMSG_HEADER) return;
    yield buffer.subarray(at, at + length);
    at += align(length);
  }
}

function readable(bytes: Buffer, description: Message<never, Table>, except: readonly string[]) {
  const payload = bytes.subarray(NLMSG_HEADER);
  const size = description.header.size;
  const body = [...lines(description.attributes.table, payload.subarray(align(size)))];
  return {
    type: bytes.readUInt16LE(4),
    flags: bytes.readUInt16LE(6) & ~NLM_F_ACK,
    header: hex(payload.subarray(0, size)),
    attributes: body.filter((line) => !except.some((name) => line.includes(name))).sort(),
  };
}

for (const [name, { command, op, except = {} }] of Object.entries(CASES)) {
  t.test(`${name}: ${command}`, async (t) => {
    t.equal(captured[name]?.command, command, 'captured.json belongs to this command');
    const theirs = [...messages(Buffer.from(captured[name]?.hex ?? '', 'hex'))];
    // Ours may set more, or read back, afterwards.
    const ours = [...messages(Buffer.from(op.bytes))].slice(0, theirs.length);
    const description = (bytes: Buffer) =>
      describedBy(op.family, bytes.readUInt16LE(4), bytes[NLMSG_HEADER] === AF_BRIDGE);
    t.same(
      ours.map((one) => readable(one, description(one), Object.keys(except))),
      theirs.map((one) => readable(one, description(one), Object.keys(except))),
    );
  });
}
