/** Extended acknowledgements: the kernel's words and the attribute at fault (linux/netlink.h, enum nlmsgerr_attrs). */
import { Attributes, attribute } from './attributes.ts';
import { text, u32 } from './codec.ts';
import { NetlinkError, type Op, type RawMessage } from './door.ts';
import { NLMSG_HEADER } from './message.ts';
import { align, LITTLE_ENDIAN } from './writer.ts';

const NLMSG_ERROR = 2;
/** The request was not repeated in the error message. */
const NLM_F_CAPPED = 0x100;

const extendedAck = new Attributes({
  message: attribute(1, 'NLMSGERR_ATTR_MSG', text(65536)),
  offset: attribute(2, 'NLMSGERR_ATTR_OFFS', u32),
  missing: attribute(5, 'NLMSGERR_ATTR_MISS_TYPE', u32),
});

/** A refusal as it came: NLMSG_ERROR, or NLMSG_DONE of a dump that failed; `message` is its number within the op. */
export interface Refusal extends RawMessage {
  message: number;
}

/** Builds the error of an op; `answer` is absent when the errno came from the socket. */
export function refusal(op: Op, index: number, errno: string, answer: Refusal | undefined): NetlinkError {
  const found = answer && words(answer);
  let attribute: string | undefined;
  if (answer !== undefined && found?.offset !== undefined)
    attribute = op.nameAt?.(answer.message, found.offset);
  else if (found?.missing !== undefined) attribute = `number ${found.missing} is missing`;
  return new NetlinkError({
    errno,
    what: op.what,
    index,
    ...(found?.message !== undefined && { kernelMessage: found.message }),
    ...(attribute !== undefined && { attribute }),
  });
}

function words({ type, flags, payload }: Refusal): ReturnType<typeof extendedAck.read> {
  let start = 4;
  if (type === NLMSG_ERROR) {
    if (payload.length < 4 + NLMSG_HEADER) return {};
    const request = new DataView(payload.buffer, payload.byteOffset).getUint32(4, LITTLE_ENDIAN);
    start += flags & NLM_F_CAPPED ? NLMSG_HEADER : align(request);
  }
  return extendedAck.read(payload.subarray(start));
}
