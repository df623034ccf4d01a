/** Queueing disciplines (net/sched/sch_api.c, sch_tbf.c, sch_ingress.c; linux/pkt_sched.h; tc(8)). */
import { Attributes, attribute, nested } from './attributes.ts';
import { type Codec, i32, text, u8, u16, u32, u64 } from './codec.ts';
import type { Op, RawMessage } from './door.ts';
import {
  type Fields,
  Message,
  NLM_F_CREATE,
  NLM_F_DUMP,
  NLM_F_EXCL,
  nothing,
  operation,
  Struct,
  type StructValues,
} from './message.ts';

const RTM_NEWQDISC = 36;
const RTM_DELQDISC = 37;
const RTM_GETQDISC = 38;

const TC_H_ROOT = 0xffffffff;
const TC_H_CLSACT = 0xfffffff1;
/** TC_H_MAKE(TC_H_CLSACT, 0): the only handle that clsact and ingress can have. */
const CLSACT_HANDLE = 0xffff0000;
/** Time is counted in these, in nanoseconds (include/net/pkt_sched.h, PSCHED_SHIFT). */
const TICK = 64;
const TC_LINKLAYER_ETHERNET = 1;

export const tcmsg = new Struct({
  family: u8,
  pad1: u8,
  pad2: u16,
  index: i32,
  handle: u32,
  parent: u32,
  info: u32,
});

/** A struct as an attribute's payload. */
export function structure<S extends Fields>(struct: Struct<S>): Codec<StructValues<S>> {
  return { write: (to, values) => struct.write(to, values), read: (found) => struct.read(found) };
}

/** struct tc_tbf_qopt, with its two struct tc_ratespec, of which the peak's stays empty. */
const tbfParameters = new Struct({
  cellLog: u8,
  linkLayer: u8,
  overhead: u16,
  cellAlign: u16,
  mpu: u16,
  rate: u32,
  peak1: u32,
  peak2: u32,
  peakRate: u32,
  limit: u32,
  buffer: u32,
  mtu: u32,
});

const tbfOptions = new Attributes({
  parameters: attribute(1, 'TCA_TBF_PARMS', structure(tbfParameters)),
  rate64: attribute(4, 'TCA_TBF_RATE64', u64),
  burst: attribute(6, 'TCA_TBF_BURST', u32),
});

export const qdiscMessage = new Message(
  tcmsg,
  new Attributes({
    kind: attribute(1, 'TCA_KIND', text(16)),
    tbf: attribute(2, 'TCA_OPTIONS', nested(tbfOptions, 0), ['kind', 'tbf']),
    stab: attribute(8, 'TCA_STAB', nested(new Attributes({}))),
  }),
);

/** A token bucket. */
export interface Bucket {
  /** Bytes per second. */
  rate: number;
  /** Bytes: what may pass at once. At least the largest packet, which would be dropped otherwise. */
  burst: number;
  /** Bytes that wait; what does not fit is dropped. */
  limit: number;
}

/** As found: the kernel keeps the burst as the time that it takes at the rate. */
export interface FoundBucket {
  rate: number;
  limit: number;
  /** Ticks, of which the kernel tells the lower 32 bits. */
  buffer: number;
}

export interface Qdisc {
  link: number;
  /** `tbf`, `clsact`, `noqueue`, ... */
  kind: string;
  /** Major and minor number. 0 is what the kernel made by itself. */
  handle: number;
  root: boolean;
  tbf: FoundBucket | undefined;
}

const U32 = 2 ** 32;

function decodeQdisc(message: RawMessage): Qdisc {
  const { header, attributes: found } = qdiscMessage.read(message.payload);
  const { rate = 0, limit = 0, buffer = 0 } = found.tbf?.parameters ?? {};
  return {
    link: header.index,
    kind: found.kind ?? '',
    handle: header.handle,
    root: header.parent === TC_H_ROOT,
    tbf: found.tbf && { rate: found.tbf.rate64 ?? rate, limit, buffer },
  };
}

/** Whether a bucket was found as it was wanted. Pure. */
export function isBucket(found: FoundBucket, wanted: Bucket): boolean {
  const ticks = Math.floor((wanted.burst * 1e9) / wanted.rate / TICK);
  const off = Math.abs((ticks % U32) - found.buffer);
  // The kernel multiplies and shifts where we divide.
  const same = Math.min(off, U32 - off) <= 2 + ticks / 1e6;
  return same && found.rate === wanted.rate && found.limit === wanted.limit;
}

/** Bytes of burst that a found bucket has. */
export const burstOf = ({ buffer, rate }: FoundBucket): number => Math.round((buffer * TICK * rate) / 1e9);

/**
 * Gives a link a token bucket for what it sends, or changes the one with that handle. EEXIST when the link has a queueing discipline that
 * somebody else gave it; ENOENT when the kernel has no tbf.
 * @param handle major number, 1 to 0xfffe
 */
export function setBucket(link: number, handle: number, { rate, burst, limit }: Bucket): Op<void> {
  const large = rate >= U32;
  const parameters = { linkLayer: TC_LINKLAYER_ETHERNET, rate: large ? U32 - 1 : rate, limit };
  const bytes = qdiscMessage.encode(
    RTM_NEWQDISC,
    NLM_F_CREATE,
    { index: link, handle: handle * 0x10000, parent: TC_H_ROOT },
    { kind: 'tbf', tbf: { parameters, rate64: large ? rate : undefined, burst } },
  );
  return operation('route', qdiscMessage, [bytes], {
    what: `give link ${link} a token bucket (tbf)`,
    decode: nothing,
  });
}

/** Takes a link's root queueing discipline away, if it is of this kind and has this handle; ENOENT or EINVAL where it is not. */
export function deleteRootQdisc(link: number, handle: number, kind: string): Op<void> {
  const header = { index: link, handle: handle * 0x10000, parent: TC_H_ROOT };
  return operation('route', qdiscMessage, [qdiscMessage.encode(RTM_DELQDISC, 0, header, { kind })], {
    what: `delete queueing discipline ${kind} of link ${link}`,
    decode: nothing,
  });
}

/** Makes the place for filters on what a link receives and sends (clsact); EEXIST when there is one, or the older `ingress`. */
export function addFilterPlace(link: number): Op<void> {
  const bytes = qdiscMessage.encode(
    RTM_NEWQDISC,
    NLM_F_CREATE | NLM_F_EXCL,
    { index: link, handle: CLSACT_HANDLE, parent: TC_H_CLSACT },
    { kind: 'clsact' },
  );
  return operation('route', qdiscMessage, [bytes], {
    what: `make a place for filters (clsact) on link ${link}`,
    decode: nothing,
  });
}

/** Takes the place away, with all filters there; EINVAL or ENOENT when there is none. */
export function deleteFilterPlace(link: number): Op<void> {
  const header = { index: link, handle: CLSACT_HANDLE, parent: TC_H_CLSACT };
  return operation(
    'route',
    qdiscMessage,
    [qdiscMessage.encode(RTM_DELQDISC, 0, header, { kind: 'clsact' })],
    {
      what: `delete the place for filters (clsact) of link ${link}`,
      decode: nothing,
    },
  );
}

/** Queueing disciplines of one link, or of all. */
export function listQdiscs(link?: number): Op<Qdisc[]> {
  const request = qdiscMessage.encode(RTM_GETQDISC, NLM_F_DUMP, { index: link ?? 0 }, {});
  return operation('route', qdiscMessage, [request], {
    what: link === undefined ? 'list queueing disciplines' : `list queueing disciplines of link ${link}`,
    decode: (messages) =>
      messages.map(decodeQdisc).filter((found) => link === undefined || found.link === link),
  });
}

const LOOPBACK = 1;

/**
 * Asks for a queueing discipline that no kernel makes, its size table being empty; the answer is ENOENT where the kernel does not
 * have the kind, and another refusal where it has (qdisc_create). Nothing is made.
 */
export function probeQdisc(kind: string): Op<unknown> {
  const place =
    kind === 'clsact'
      ? { handle: CLSACT_HANDLE, parent: TC_H_CLSACT }
      : { handle: 0x10000, parent: TC_H_ROOT };
  const header = { index: LOOPBACK, ...place };
  const bytes = qdiscMessage.encode(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, header, { kind, stab: {} });
  return operation('route', qdiscMessage, [bytes], {
    what: `ask for the queueing discipline ${kind}`,
    tolerate: ['ENOENT', 'EINVAL', 'EEXIST', 'EBUSY'],
    decode: nothing,
  });
}
