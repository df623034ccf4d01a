/** The sbr plugin as a plan: what a container sends from an address of its link is routed by that link's own tables. */
import { CniError, ErrorCode } from '../../cni/errors.ts';
import { addressOf, canonical, familyOf, hostPrefix, overlap, parseAddress } from '../../cni/prefix.ts';
import type { Result } from '../../cni/types.ts';
import { SOURCE_TABLES, sourceTables } from '../../plan/names.ts';
import type { SourceRouteStep, Step } from '../../plan/step.ts';
import type { ChainedInput } from '../chained.ts';
import { answerFrom } from '../outcome.ts';
import type { SbrConf } from './schema.ts';

/** Throws CniError(invalidConfig). */
export function validateSbr({ gateways = [] }: SbrConf): void {
  const families = gateways.map((gateway) => {
    if (parseAddress(gateway) !== undefined) return familyOf(gateway);
    throw new CniError(ErrorCode.invalidConfig, `gateways: wanted an IPv4 or IPv6 address, found ${gateway}`);
  });
  if (new Set(families).size === families.length) return;
  throw new CniError(
    ErrorCode.invalidConfig,
    `gateways: wanted at most one IPv4 and one IPv6 address, found ${gateways.join(', ')}`,
  );
}

/** The n-th address of either family has the n-th table. */
function sourcesOf(input: ChainedInput<SbrConf>): SourceRouteStep['sources'] {
  const { config, attachment, prevResult } = input;
  const tables = sourceTables(attachment.network, attachment);
  const seen = { 4: 0, 6: 0 };
  const ips = prevResult ? answerFrom(prevResult, attachment.ifname).ips : [];
  return ips.map(({ address, gateway }) => {
    const family = familyOf(address);
    const fixed = config.gateways?.find((one) => familyOf(one) === family);
    const via = fixed ?? gateway;
    const table = config.table ?? tables + (seen[family] % (SOURCE_TABLES - 1));
    seen[family] += 1;
    return {
      ...{ address: canonical(addressOf(address)), subnet: address, table },
      ...(via && { gateway: canonical(via) }),
      ...(fixed && { fixed: true }),
    };
  });
}

function step(input: ChainedInput<SbrConf>): SourceRouteStep {
  const { config, attachment } = input;
  return {
    ...{ kind: 'source-route', in: 'container', dev: attachment.ifname, sources: sourcesOf(input) },
    tables: sourceTables(attachment.network, attachment),
    // Who chooses the table has put the routes there.
    move: config.table === undefined,
    hints: config.addSourceHints === true,
  };
}

/** Throws CniError(invalidConfig). */
export function sbrPlan(input: ChainedInput<SbrConf>): Step[] {
  const made = step(input);
  if (made.sources.length > 0) return [made];
  throw new CniError(
    ErrorCode.invalidConfig,
    `routes are to be chosen by source, but the plugins before sbr gave ${made.dev} no address`,
  );
}

/** Whatever the configuration says by now. */
export const sbrRemoval = (input: ChainedInput<SbrConf>): Step[] => [step(input)];

/** Routes are where they went. */
export function sbrResult(input: ChainedInput<SbrConf>, previous: Result): Result {
  const { sources, move } = step(input);
  if (!move) return previous;
  const routes = previous.routes.map((route) => {
    if (route.table !== undefined) return route;
    const family = sources.filter(({ address }) => familyOf(address) === familyOf(route.dst));
    const { gw } = route;
    const near = gw ? family.find(({ subnet }) => overlap(hostPrefix(gw), subnet)) : undefined;
    const table = (near ?? family[0])?.table;
    return table === undefined ? route : { ...route, table };
  });
  return { ...previous, routes };
}
