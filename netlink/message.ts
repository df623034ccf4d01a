/** Netlink messages: a fixed header struct, then attributes (linux/netlink.h, struct nlmsghdr). */
import type { Attributes, Table, Values } from './attributes.ts';
import type { Codec, Scalar } from './codec.ts';
import type { Family, Op, RawMessage } from './door.ts';
import { align, LITTLE_ENDIAN, Writer } from './writer.ts';

export const NLMSG_HEADER = 16;

export const NLM_F_REQUEST = 0x1;
export const NLM_F_ACK = 0x4;
export const NLM_F_ECHO = 0x8;
/** GET: all of them. */
export const NLM_F_DUMP = 0x300;
/** NEW: what happens when it is there already (REPLACE, EXCL), when not (CREATE), and at which end (APPEND). */
export const NLM_F_REPLACE = 0x100;
export const NLM_F_EXCL = 0x200;
export const NLM_F_CREATE = 0x400;
export const NLM_F_APPEND = 0x800;

export type Fields = Readonly<Record<string, Scalar>>;
export type StructValues<S extends Fields> = { [K in keyof S]?: number };

/** A struct of numbers in the order of its fields; what is not given is 0. Fields must come naturally aligned. */
export class Struct<S extends Fields> {
  readonly size: number;
  readonly #fields: readonly (readonly [string, Scalar, number])[];

  constructor(fields: S) {
    let offset = 0;
    this.#fields = Object.entries(fields).map(([key, field]) => {
      const entry = [key, field, offset] as const;
      offset += field.size;
      return entry;
    });
    this.size = offset;
  }

  write(to: Writer, values: StructValues<S>): void {
    for (const [key, field] of this.#fields) {
      try {
        field.write(to, (values as Record<string, number | undefined>)[key] ?? 0);
      } catch (error) {
        throw new RangeError(`${key}: ${(error as Error).message}`);
      }
    }
  }

  /** Throws RangeError when the bytes are too few. */
  read(bytes: Uint8Array): { [K in keyof S]: number } {
    if (bytes.length < this.size) {
      throw new RangeError(`message header: want ${this.size} bytes, found ${bytes.length}`);
    }
    const values: Record<string, number> = {};
    for (const [key, field, offset] of this.#fields) {
      values[key] = field.read(bytes, offset);
    }
    return values as { [K in keyof S]: number };
  }
}

/** A header struct with the attributes that follow it: the body of a message, or of an attribute such as VETH_INFO_PEER. */
export class Message<S extends Fields, F extends Table> {
  readonly header: Struct<S>;
  readonly attributes: Attributes<F>;

  constructor(header: Struct<S>, attributes: Attributes<F>) {
    this.header = header;
    this.attributes = attributes;
  }

  write(to: Writer, header: StructValues<S>, values: Values<F>): void {
    this.header.write(to, header);
    to.align();
    this.attributes.write(to, values);
  }

  read(payload: Uint8Array): { header: { [K in keyof S]: number }; attributes: Values<F> } {
    const header = this.header.read(payload);
    return { header, attributes: this.attributes.read(payload.subarray(align(this.header.size))) };
  }

  nameAt(payload: Uint8Array, offset: number): string | undefined {
    const start = align(this.header.size);
    return offset < start ? undefined : this.attributes.nameAt(payload.subarray(start), offset - start);
  }

  /** A whole message, nlmsghdr included. */
  encode(type: number, flags: number, header: StructValues<S>, values: Values<F>): Uint8Array {
    const to = new Writer();
    to.reserve(NLMSG_HEADER);
    this.write(to, header, values);
    to.view.setUint32(0, to.length, LITTLE_ENDIAN);
    to.view.setUint16(4, type, LITTLE_ENDIAN);
    to.view.setUint16(6, flags | NLM_F_REQUEST, LITTLE_ENDIAN);
    to.align();
    return to.finish();
  }
}

/** A struct with attributes, as an attribute's payload. */
export function messageIn<S extends Fields, F extends Table>(
  message: Message<S, F>,
  flags: number,
): Codec<{ header: StructValues<S>; attributes: Values<F> }> {
  return {
    flags,
    inside: message.attributes.table,
    write: (to, value) => message.write(to, value.header, value.attributes),
    read: (payload) => message.read(payload),
    nameAt: (payload, offset) => message.nameAt(payload, offset),
  };
}

/** What it takes to name an attribute in a request: the encoded message and its description. */
interface Named {
  nameAt(payload: Uint8Array, offset: number): string | undefined;
}

interface OpFields<T> {
  what: string;
  tolerate?: readonly string[];
  decode(messages: readonly RawMessage[]): T;
}

/** An Op of one or more whole messages, all with the same description. */
export function operation<T>(
  family: Family,
  description: Named,
  messages: readonly Uint8Array[],
  fields: OpFields<T>,
): Op<T> {
  return {
    family,
    bytes: concat(messages),
    what: fields.what,
    ...(fields.tolerate && { tolerate: fields.tolerate }),
    decode: fields.decode,
    nameAt(index, offset) {
      const message = messages[index];
      if (message === undefined || offset < NLMSG_HEADER) return undefined;
      return description.nameAt(message.subarray(NLMSG_HEADER), offset - NLMSG_HEADER);
    },
  };
}

/** The same request, with these errno names taken as an answer. */
export function tolerating<T>(op: Op<T>, ...errno: string[]): Op<T> {
  return { ...op, tolerate: [...(op.tolerate ?? []), ...errno] };
}

/** The same request, never sent by a thread that others wait for. */
export function slow<T>(op: Op<T>): Op<T> {
  return { ...op, slow: true };
}

export function concat(parts: readonly Uint8Array[]): Uint8Array {
  if (parts.length === 1 && parts[0] !== undefined) return parts[0];
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** For requests whose only answer is the acknowledgement. */
export function nothing(): void {}
