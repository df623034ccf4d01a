/** What a person types after `weft trace`. */
import { parseAddress } from '../../cni/prefix.ts';
import { UsageError } from '../context.ts';

/** Where to: an address or a container's name; absent for a published port of this host. */
export interface Destination {
  host: string | undefined;
  /** Absent: an echo request. */
  port: number | undefined;
  protocol: 'tcp' | 'udp' | 'sctp' | 'icmp';
}

const PROTOCOLS = ['tcp', 'udp', 'sctp', 'icmp'] as const;

/**
 * `TO[:PORT[/PROTO]]`: `10.88.0.3`, `web1:80`, `[fd00::3]:53/udp`, `fd00::3`, `:8080`. A port without protocol is TCP's, no port an echo request.
 * Throws UsageError.
 */
export function parseDestination(text: string): Destination {
  const slash = text.lastIndexOf('/');
  const named = slash < 0 ? undefined : text.slice(slash + 1).toLowerCase();
  // A path of a namespace has slashes as well.
  const protocol = PROTOCOLS.find((one) => one === named);
  const rest = protocol === undefined ? text : text.slice(0, slash);
  if (protocol === undefined && named !== undefined && /:\d+\/[a-z]/i.test(text)) {
    throw new UsageError(`protocol ${JSON.stringify(named)}: wanted ${PROTOCOLS.join(', ')}`);
  }
  const { host, port } = hostAndPort(rest, text);
  if (port === undefined && protocol !== undefined && protocol !== 'icmp') {
    throw new UsageError(
      `${JSON.stringify(text)} names ${protocol} without a port: wanted ${rest}:PORT/${protocol}`,
    );
  }
  if (port !== undefined && protocol === 'icmp')
    throw new UsageError(`icmp has no ports: wanted ${host}/icmp`);
  return { host, port, protocol: protocol ?? (port === undefined ? 'icmp' : 'tcp') };
}

function hostAndPort(text: string, all: string): { host: string | undefined; port: number | undefined } {
  const bracketed = /^\[([^\]]+)\](?::(.*))?$/.exec(text);
  if (bracketed) return { host: bracketed[1], port: portOf(bracketed[2], all) };
  if (text === '') throw new UsageError('TO is empty: wanted an address, a container or :PORT');
  if (parseAddress(text)) return { host: text, port: undefined };
  const colon = text.lastIndexOf(':');
  if (colon < 0) return { host: text, port: undefined };
  return { host: text.slice(0, colon) || undefined, port: portOf(text.slice(colon + 1), all) };
}

function portOf(text: string | undefined, all: string): number | undefined {
  if (text === undefined) return undefined;
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (port >= 1 && port <= 65_535) return port;
  throw new UsageError(
    `${JSON.stringify(all)}: wanted a port between 1 and 65535 behind the last ":", found ${JSON.stringify(text)}`,
  );
}

/** `--host NAME=NETNS`. Throws UsageError. */
export function parseHost(text: string): readonly [string, string] {
  const at = text.indexOf('=');
  if (at > 0 && at < text.length - 1) return [text.slice(0, at), text.slice(at + 1)];
  throw new UsageError('wanted NAME=NETNS, such as host2=/run/netns/host2');
}

/** `--size`: bytes of the IP packet. Throws UsageError. */
export function parseSize(text: string): number {
  const size = Number(text);
  if (/^\d+$/.test(text) && size >= 28 && size <= 65_535) return size;
  throw new UsageError('wanted bytes between 28 and 65535');
}

/** `--source-port`. Throws UsageError. */
export function parsePort(text: string): number {
  const port = Number(text);
  if (/^\d+$/.test(text) && port >= 1 && port <= 65_535) return port;
  throw new UsageError('wanted a port between 1 and 65535');
}
