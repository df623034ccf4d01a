import { CniError, ErrorCode } from '../../cni/errors.ts';
import { canonical, defaultRoute, familyOf, networkOf } from '../../cni/prefix.ts';
import { addRouteBeside, type Route, RT_TABLE_MAIN } from '../../netlink/route.ts';
import type { Difference } from '../difference.ts';
import { explainError } from '../failure.ts';
import type { StepKind } from '../kind.ts';
import { ipCommand } from '../render.ts';
import type { RouteStep } from '../step.ts';
import { place } from '../surroundings.ts';

/** `default` for people, as ip(8) writes it. */
function destination(dst: string): string {
  return networkOf(dst) === defaultRoute(familyOf(dst)) ? 'default' : networkOf(dst);
}

function describe(step: RouteStep): string {
  return `route ${destination(step.dst)}${step.via ? ` via ${step.via}` : ''} on ${step.dev} ${place(step.in)}`;
}

/** The attributes that a route was found with, where they differ from what is wanted. Scope means nothing for IPv6. */
function attributes(step: RouteStep, found: Route): Difference[] {
  const keys = [
    'mtu',
    'advmss',
    'priority',
    ...(familyOf(step.dst) === 4 ? (['scope'] as const) : []),
  ] as const;
  return keys.flatMap((key) => {
    const wanted = step[key];
    if (wanted === undefined || (wanted === 0 && key !== 'scope') || found[key] === wanted) return [];
    return [
      { what: `${key} of ${describe(step)}`, wanted: `${wanted}`, found: `${found[key] ?? 'nothing'}` },
    ];
  });
}

/** Pure: what of the step is not among the routes. */
export function routeDifferences(step: RouteStep, routes: readonly Route[]): Difference[] {
  const same = (a: string | undefined, b: string | undefined) =>
    a === undefined || b === undefined ? a === b : canonical(a) === canonical(b);
  const matching = routes.filter(
    (route) => networkOf(route.dst) === networkOf(step.dst) && same(route.gateway, step.via),
  );
  const inTable = matching.filter((route) => route.table === (step.table || RT_TABLE_MAIN));
  // A later plugin of the chain may have moved it to a table of the link's own (sbr, vrf).
  const candidates = inTable.length > 0 || step.table ? inTable : matching;
  if (candidates.length === 0) return [{ what: describe(step), wanted: 'present', found: 'nothing' }];
  const [best] = candidates.map((route) => attributes(step, route)).sort((a, b) => a.length - b.length);
  return best ?? [];
}

export const route: StepKind<RouteStep> = {
  async apply(step, run) {
    const { index } = await run.link(step.in, step.dev);
    const { dst, via, src, onlink, mtu, advmss, priority, table, scope } = step;
    const op = addRouteBeside({
      dst: networkOf(dst),
      link: index,
      gateway: via,
      source: src,
      onlink,
      // Go programs write 0 for what is not set; for a scope it is a value.
      mtu: mtu || undefined,
      advmss: advmss || undefined,
      priority: priority || undefined,
      table: table || undefined,
      scope,
    });
    run.push(step.in, op, {
      explain(error) {
        if (error.errno !== 'ENETUNREACH' && error.errno !== 'EHOSTUNREACH') return undefined;
        return new CniError(
          ErrorCode.invalidConfig,
          `cannot add ${describe(step)}: ${via ?? 'its gateway'} is in no subnet of ${step.dev}`,
          error.message,
          { cause: explainError(error) },
        );
      },
    });
  },

  async verify(step, look) {
    return routeDifferences(step, await look.routes(step.in, step.dev));
  },

  render(step, { netns }) {
    const option = (word: string, value: number | string | undefined) =>
      value === undefined ? [] : [word, value];
    return [
      ipCommand(
        step.in,
        netns,
        familyOf(step.dst) === 6 && '-6',
        ...['route', 'add', destination(step.dst)],
        ...option('via', step.via),
        ...['dev', step.dev],
        ...option('src', step.src),
        step.onlink && 'onlink',
        ...option('mtu', step.mtu || undefined),
        ...option('advmss', step.advmss || undefined),
        ...option('metric', step.priority || undefined),
        ...option('table', step.table || undefined),
        ...option('scope', step.scope),
      ),
    ];
  },
};
