/** The bandwidth plugin as a plan: token buckets on the host's end of the container's link. */
import { CniError, ErrorCode } from '../../cni/errors.ts';
import { parsePrefix } from '../../cni/prefix.ts';
import type { Result } from '../../cni/types.ts';
import { hostLinkAlias, hostLinkName, ifbName } from '../../plan/names.ts';
import type { ShapeStep, Step } from '../../plan/step.ts';
import type { ChainedInput } from '../chained.ts';
import { hostLinks } from '../outcome.ts';
import type { BandwidthConf } from './schema.ts';

/** As the configuration says them: seen from the container. */
const DIRECTIONS = ['ingress', 'egress'] as const;
type Direction = (typeof DIRECTIONS)[number];

/** What containerd, CRI-O and kubelet write for a burst that nobody asked for: half a gigabyte would not be limited at all for minutes. */
const NO_BURST: readonly number[] = [2 ** 32 - 1, 2 ** 31 - 1];
/** The kernel counts a burst in 32 bits, in bytes. */
const MOST = 2 ** 32 - 1;
/** Seconds of the rate that pass at once where no burst is asked for, and that wait. */
const BURST_TIME = 0.01;
const QUEUE_TIME = 0.025;
/** Bytes. Ten packets, TCP's initial window (RFC 6928), pass at once, and more than that waits, at the lowest rates, too. */
const LEAST_BURST = 16 * 1024;
const LEAST_QUEUE = 24 * 1024;
/** Bytes: the largest packet that a stack hands on in one piece (GSO). */
const LARGEST = 65536;

type Subnets = Pick<BandwidthConf, 'shapedSubnets' | 'unshapedSubnets'>;
type Limits = Subnets & Pick<BandwidthConf, `${Direction}${'Rate' | 'Burst'}`>;

const hasLimit = ({ ingressRate, ingressBurst, egressRate, egressBurst }: Limits) =>
  Boolean(ingressRate || ingressBurst || egressRate || egressBurst);
const hasSubnets = ({ shapedSubnets, unshapedSubnets }: Subnets) =>
  Boolean(shapedSubnets?.length || unshapedSubnets?.length);

/** The configuration wins over the runtime where it says something, as in the reference. */
function limitsOf(config: BandwidthConf): Limits {
  const asked: Limits = config.runtimeConfig?.bandwidth ?? {};
  const { shapedSubnets = [], unshapedSubnets = [] } = hasSubnets(config) ? config : asked;
  return { ...(hasLimit(config) ? config : asked), shapedSubnets, unshapedSubnets };
}

const refuse = (message: string) => new CniError(ErrorCode.invalidConfig, message);

/** Throws CniError(invalidConfig). */
export function validateBandwidth(config: BandwidthConf): void {
  const limits = limitsOf(config);
  for (const direction of DIRECTIONS) {
    const [rate = 0, burst = 0] = [limits[`${direction}Rate`], limits[`${direction}Burst`]];
    if (burst > 0 && rate === 0) {
      throw refuse(`${direction}Burst is ${burst}, but there is no ${direction}Rate: set both, or none`);
    }
    if (rate > 0 && rate < 8) {
      throw refuse(`${direction}Rate: wanted at least 8 (bits per second), or 0 for no limit, found ${rate}`);
    }
    if (burst / 8 >= MOST) {
      throw refuse(`${direction}Burst: wanted less than ${MOST * 8} (bits, 4 GiB), found ${burst}`);
    }
  }
  const { shapedSubnets, unshapedSubnets } = limits;
  if (shapedSubnets?.length && unshapedSubnets?.length) {
    throw refuse(
      'shapedSubnets and unshapedSubnets are both set: what is in neither would be ambiguous, remove one',
    );
  }
  for (const [field, prefixes] of Object.entries({ shapedSubnets, unshapedSubnets })) {
    for (const prefix of prefixes ?? []) {
      if (parsePrefix(prefix)) continue;
      throw refuse(
        `${field}: wanted a prefix such as 10.0.0.0/8 or fd00::/8, found ${JSON.stringify(prefix)}`,
      );
    }
  }
}

/**
 * Bytes. What waits is bounded by time, not by the burst: with a full queue each packet is late by `limit / rate`, and a burst of
 * megabytes must not become seconds. A packet that is let through in one piece has to fit.
 */
export function bucketFor(bitsPerSecond: number, burstBits: number | undefined) {
  const rate = Math.floor(bitsPerSecond / 8);
  const asked = burstBits && !NO_BURST.includes(burstBits) ? Math.floor(burstBits / 8) : undefined;
  const burst = Math.min(MOST, asked ?? Math.max(LEAST_BURST, Math.ceil(rate * BURST_TIME)));
  const queue = Math.max(LEAST_QUEUE, Math.ceil(rate * QUEUE_TIME), Math.min(burst, LARGEST));
  return { rate, burst, limit: Math.min(MOST, queue) };
}

/** The host's end of the container's link, as the plugins before named it; DEL may have to do with what we would have named it. */
function hostEnd({ prevResult }: ChainedInput<BandwidthConf>): string | undefined {
  if (!prevResult) return undefined;
  const { links, port } = hostLinks(prevResult);
  return port ?? links.at(-1);
}

function ifbOf({ attachment }: ChainedInput<BandwidthConf>, direction: Direction) {
  const { network } = attachment;
  return { name: ifbName(network, attachment, direction), alias: hostLinkAlias(network, attachment) };
}

/** Throws CniError(invalidConfig). */
export function bandwidthPlan(input: ChainedInput<BandwidthConf>): Step[] {
  const limits = limitsOf(input.config);
  const due = DIRECTIONS.filter((direction) => limits[`${direction}Rate`]);
  if (!input.prevResult || due.length === 0) return [];
  const dev = hostEnd(input);
  if (dev === undefined) {
    throw refuse(
      "bandwidth is to be limited at the host's end of the container's link, but the plugins before bandwidth named no link of the host " +
        '(macvlan, ipvlan and host-device have none)',
    );
  }
  const { shapedSubnets: only, unshapedSubnets: except } = limits;
  return due.map(
    (direction): ShapeStep => ({
      ...{ kind: 'shape', dev, direction },
      ...bucketFor(limits[`${direction}Rate`] ?? 0, limits[`${direction}Burst`]),
      // A link's own queue knows no exceptions.
      ...((direction === 'egress' || hasSubnets(limits)) && { ifb: ifbOf(input, direction) }),
      ...(only?.length && { only }),
      ...(except?.length && { except }),
    }),
  );
}

/** Whatever the configuration says by now. */
export function bandwidthRemoval(input: ChainedInput<BandwidthConf>): Step[] {
  const { attachment } = input;
  const dev = hostEnd(input) ?? hostLinkName(attachment.network, attachment);
  return DIRECTIONS.map((direction) => ({
    ...{ kind: 'shape', dev, direction, rate: 1, burst: 1, limit: 1 },
    ifb: ifbOf(input, direction),
  }));
}

/** With the links that packets take a turn through. */
export function bandwidthResult(input: ChainedInput<BandwidthConf>, previous: Result): Result {
  const made = bandwidthPlan(input).flatMap((step) =>
    step.kind === 'shape' && step.ifb ? [{ name: step.ifb.name }] : [],
  );
  return { ...previous, interfaces: [...previous.interfaces, ...made] };
}
