/**
 * Lists of attributes described by tables: number, kernel name, codec. Encoder, decoder, TypeScript types and the names in
 * error messages all come from the one table (linux/netlink.h, struct nlattr).
 */
import { type Codec, NLA_F_NESTED, wrong } from './codec.ts';
import { align, LITTLE_ENDIAN, type Writer } from './writer.ts';

const HEADER = 4;
const TYPE_MASK = 0x3fff;

export interface Attribute<T> {
  readonly number: number;
  /** The kernel's name: IFLA_MTU. */
  readonly name: string;
  readonly codec: Codec<T>;
  /** This reading of the number holds only where an earlier field has this value (IFLA_INFO_DATA by IFLA_INFO_KIND). */
  readonly when?: readonly [field: string, value: unknown];
}

export type Table = Readonly<Record<string, Attribute<unknown>>>;

/** What a table's attributes hold; every one may be absent. */
export type Values<F extends Table> = {
  [K in keyof F]?: (F[K] extends Attribute<infer V> ? V : never) | undefined;
};

/** One line of a table. */
export function attribute<T>(
  number: number,
  name: string,
  codec: Codec<T>,
  when?: readonly [string, unknown],
): Attribute<T> {
  return when === undefined ? { number, name, codec } : { number, name, codec, when };
}

/** One attribute as it lies in a buffer. */
export interface Piece {
  number: number;
  payload: Uint8Array;
  /** Where its header starts. */
  offset: number;
}

function u16At(bytes: Uint8Array, at: number): number {
  const first = bytes[at] ?? 0;
  const second = bytes[at + 1] ?? 0;
  return LITTLE_ENDIAN ? first | (second << 8) : (first << 8) | second;
}

function leaves(list: Uint8Array, offset: number, length: number): RangeError {
  return new RangeError(
    `attribute at byte ${offset}: length ${length} leaves the ${list.length} bytes of the list`,
  );
}

function readInto(
  values: Record<string, unknown>,
  [key, { name, codec }]: readonly [key: string, Attribute<unknown>],
  payload: Uint8Array,
): void {
  try {
    const value = codec.read(payload);
    values[key] = codec.repeated ? [...((values[key] as unknown[] | undefined) ?? []), value] : value;
  } catch (error) {
    throw new RangeError(`${name}: ${(error as Error).message}`);
  }
}

/** Walks a list of attributes. Throws RangeError when a length leaves the buffer. */
export function* pieces(list: Uint8Array): Generator<Piece> {
  let offset = 0;
  while (offset + HEADER <= list.length) {
    const length = u16At(list, offset);
    if (length < HEADER || offset + length > list.length) throw leaves(list, offset, length);
    const number = u16At(list, offset + 2) & TYPE_MASK;
    yield { number, payload: list.subarray(offset + HEADER, offset + length), offset };
    offset += align(length);
  }
}

/** Writes one attribute: header, payload, padding. Throws RangeError when the payload outgrows nla_len (64 KiB). */
export function writeAttribute(to: Writer, number: number, flags: number, payload: () => void): void {
  const at = to.reserve(HEADER);
  payload();
  const length = to.length - at;
  if (length > 0xffff) throw wrong('at most 65531 bytes of payload', length - HEADER);
  to.view.setUint16(at, length, LITTLE_ENDIAN);
  to.view.setUint16(at + 2, number | flags, LITTLE_ENDIAN);
  to.align();
}

export class Attributes<F extends Table> {
  readonly table: F;
  readonly #entries: readonly (readonly [key: string, Attribute<unknown>])[];
  readonly #byNumber = new Map<number, (readonly [key: string, Attribute<unknown>])[]>();

  constructor(table: F) {
    this.table = table;
    this.#entries = Object.entries(table);
    for (const entry of this.#entries) {
      const { number } = entry[1];
      const known = this.#byNumber.get(number);
      if (known === undefined) this.#byNumber.set(number, [entry]);
      else known.push(entry);
    }
  }

  /** Writes the present ones in the table's order. Throws RangeError that names the attribute. */
  write(to: Writer, values: Values<F>): void {
    for (const [key, { number, name, codec }] of this.#entries) {
      const value = (values as Record<string, unknown>)[key];
      if (value === undefined) continue;
      for (const each of codec.repeated ? (value as unknown[]) : [value]) {
        try {
          writeAttribute(to, number, codec.flags ?? 0, () => codec.write(to, each));
        } catch (error) {
          throw new RangeError(`${name}: ${(error as Error).message}`);
        }
      }
    }
  }

  /** Reads those the table knows; others are newer than we are, or of no interest. Throws RangeError. */
  read(list: Uint8Array): Values<F> {
    const values: Record<string, unknown> = {};
    // As pieces(), without a view of each attribute: most of what the kernel tells of a link is of no interest.
    for (let offset = 0; offset + HEADER <= list.length; ) {
      const length = u16At(list, offset);
      if (length < HEADER || offset + length > list.length) throw leaves(list, offset, length);
      const entry = this.#find(u16At(list, offset + 2) & TYPE_MASK, values);
      if (entry !== undefined) readInto(values, entry, list.subarray(offset + HEADER, offset + length));
      offset += align(length);
    }
    return values as Values<F>;
  }

  /** The reading of a number that holds after the fields before it. */
  #find(
    number: number,
    values: Readonly<Record<string, unknown>>,
  ): readonly [key: string, Attribute<unknown>] | undefined {
    const entries = this.#byNumber.get(number);
    if (entries === undefined) return undefined;
    for (const entry of entries) {
      const { when } = entry[1];
      if (when === undefined || values[when[0]] === when[1]) return entry;
    }
    return undefined;
  }

  /** The name of the attribute whose header or payload is at `offset`: `IFLA_LINKINFO.IFLA_INFO_KIND`. */
  nameAt(list: Uint8Array, offset: number): string | undefined {
    const values: Record<string, unknown> = {};
    for (const piece of pieces(list)) {
      const entry = this.#find(piece.number, values);
      if (entry !== undefined && entry[1].codec.nameAt === undefined)
        values[entry[0]] = entry[1].codec.read(piece.payload);
      if (offset >= align(piece.offset + HEADER + piece.payload.length)) continue;
      const name = entry?.[1].name ?? `number ${piece.number}`;
      const inner = offset - piece.offset - HEADER;
      const deeper = inner >= 0 ? entry?.[1].codec.nameAt?.(piece.payload, inner) : undefined;
      return deeper === undefined ? name : `${name}.${deeper}`;
    }
    return undefined;
  }
}

/** An attribute that holds a list of attributes. */
export function nested<F extends Table>(list: Attributes<F>, flags = NLA_F_NESTED): Codec<Values<F>> {
  return {
    flags,
    inside: list.table,
    write: (to, values) => list.write(to, values),
    read: (payload) => list.read(payload),
    nameAt: (payload, offset) => list.nameAt(payload, offset),
  };
}

/** An attribute that holds any number of others, all of one kind and number (NFTA_LIST_ELEM). */
export function listOf<T>(number: number, element: Codec<T>): Codec<T[]> {
  return {
    flags: NLA_F_NESTED,
    element,
    write(to, values) {
      for (const value of values)
        writeAttribute(to, number, element.flags ?? 0, () => element.write(to, value));
    },
    read: (payload) => Array.from(pieces(payload), (piece) => element.read(piece.payload)),
    nameAt(payload, offset) {
      let at = 0;
      for (const piece of pieces(payload)) {
        const start = piece.offset + HEADER;
        if (offset < align(start + piece.payload.length)) {
          const deeper = offset >= start ? element.nameAt?.(piece.payload, offset - start) : undefined;
          return `element ${at}${deeper === undefined ? '' : `.${deeper}`}`;
        }
        at++;
      }
      return undefined;
    },
  };
}

/** The same attribute any number of times in a row. */
export function many<T>(codec: Codec<T>): Codec<T[]> {
  return {
    flags: codec.flags ?? 0,
    repeated: true,
    element: codec,
    // Attributes.write and read hand over one element at a time.
    write: (to, value) => codec.write(to, value as unknown as T),
    read: (payload) => codec.read(payload) as unknown as T[],
  };
}
