/**
 * How weft's rules, chains, sets and elements say whom they belong to. All names are derived from the network's name and the
 * attachment, so that they are found again without any state on disk.
 */
import type { AttachmentId } from '../cni/types.ts';

/**
 * Stands at the start of every rule comment of the nftables backend. Raise it when the rules change: rules with another mark
 * are replaced by the next ADD.
 */
export const RULES_MARK = 'weft/1';

/** libnftnl keeps at most 128 bytes of a comment, the final NUL included (NFTNL_UDATA_COMMENT_MAXLEN). */
const COMMENT_BYTES = 127;
/** What a chain, set or comment shows of a network's name; longer names end in a hash. */
const LABEL_BYTES = 64;

/**
 * 16 hexadecimal digits of FNV-1a (64 bits) over the text. Not cryptographic, and need not be: it tells apart names that
 * are cut at the same place. node:crypto would add 5 ms to the start of every plugin.
 */
function digest(text: string): string {
  let hash = 0xcbf29ce484222325n;
  for (const byte of new TextEncoder().encode(text)) {
    hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
  }
  return hash.toString(16).padStart(16, '0');
}

/**
 * A network's name as it stands in the names of chains and sets, and in comments: itself where it is short enough and has no
 * character but those that the specification allows, else its readable start and a hash.
 * @param room bytes, more than 20
 */
export function networkLabel(network: string, room = LABEL_BYTES): string {
  const safe = network.replaceAll(/[^A-Za-z0-9_.-]/g, '_');
  return safe === network && network.length <= room
    ? network
    : `${safe.slice(0, room - 17)}-${digest(network)}`;
}

/** The nftables chain of a network's masquerade, in table `inet weft`. */
export function masqueradeChain(network: string): string {
  return `masq-${networkLabel(network)}`;
}

/** Names of the iptables backend's sets (at most 31 bytes, IPSET_MAXNAMELEN) and chain (at most 28 bytes) of a network. */
export function iptablesNames(network: string): {
  sources: { 4: string; 6: string };
  except: { 4: string; 6: string };
  chain: string;
} {
  const label = networkLabel(network, 23);
  return {
    sources: { 4: `weft-${label}-4`, 6: `weft-${label}-6` },
    except: { 4: `weft-${label}-x4`, 6: `weft-${label}-x6` },
    chain: `WEFT-${label}`,
  };
}

/**
 * The comment on a container's element or rule: `<container id> <interface>`. An id that leaves no room for that is cut and
 * told apart by a hash, and is still found again, since both sides derive it.
 */
export function ownerMark(id: AttachmentId): string {
  return ownerMarkWithin(COMMENT_BYTES, id);
}

/** The same, where a comment says more than whose it is; `room` in bytes, 93 or more. */
export function ownerMarkWithin(room: number, id: AttachmentId): string {
  const plain = `${id.containerId} ${id.ifname}`;
  // No quote or backslash gets into a comment, whatever a caller lets through: nft and iptables-restore would read it as syntax.
  const safe = plain.replaceAll(/[^A-Za-z0-9_.@:+ -]/g, '_');
  if (safe === plain && plain.length <= room) return plain;
  return `${safe.slice(0, 60)}~${digest(plain)} ${safe.slice(-15).trimStart()}`;
}
