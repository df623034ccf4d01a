import {
  addressOf,
  canonical,
  defaultRoute,
  familyOf,
  hostPrefix,
  networkOf,
  overlap,
} from '../../cni/prefix.ts';
import { listAddresses } from '../../netlink/address.ts';
import type { Namespace, Op } from '../../netlink/door.ts';
import { getLink } from '../../netlink/link.ts';
import { tolerating } from '../../netlink/message.ts';
import {
  addRoute,
  addRouteBeside,
  deleteRoute,
  listRoutes,
  type NewRoute,
  type Route,
  RT_TABLE_MAIN,
  replaceRoute,
} from '../../netlink/route.ts';
import { addRule, deleteRule, listRules, type PolicyRule } from '../../netlink/rule.ts';
import type { Difference } from '../difference.ts';
import type { StepKind } from '../kind.ts';
import { SOURCE_TABLES } from '../names.ts';
import { ipCommand } from '../render.ts';
import type { SourceRouteStep } from '../step.ts';
import { namespaceOf, type Surroundings } from '../surroundings.ts';

/** Before the rule for the main table (32766), behind what others may have put first. */
const PRIORITY = 32700;
/** Who made a rule or route, for `ip rule` and DEL; 119 in /etc/iproute2/rt_protos is nobody's. */
const PROTOCOL = 119;
/** Routes by router advertisements: the kernel renews them where they are. */
const RTPROT_RA = 9;
const RTN_UNICAST = 1;

type Source = SourceRouteStep['sources'][number];

/** What of a link's routes is somebody's choice; link-local addresses have their route on each link by themselves. */
const isMovable = ({ type, protocol, dst }: Route) =>
  type === RTN_UNICAST && protocol !== RTPROT_RA && !/^(fe80|ff)/i.test(dst);

const isDefault = ({ dst }: { dst: string }) => dst.endsWith('/0');

/** Whether a route is for packets with that source: it says so itself, or by its gateway, or says nothing. */
function isFor({ subnet }: Source, { dst, source, gateway }: Route): boolean {
  const family = familyOf(subnet);
  if (family !== familyOf(dst)) return false;
  const isIn = (address: string | undefined) =>
    address !== undefined && familyOf(address) === family && overlap(hostPrefix(address), subnet);
  return isIn(source) || isIn(gateway) || (source === undefined && gateway === undefined);
}

/** Of a link's routes; one that is for no source in particular (its gateway is beyond all subnets) is for each of its family. */
function routesOf(source: Source, { sources }: SourceRouteStep, routes: readonly Route[]): Route[] {
  return routes.filter(
    (route) =>
      isFor(source, route) ||
      (familyOf(route.dst) === familyOf(source.address) && !sources.some((one) => isFor(one, route))),
  );
}

const copyOf = ({ family: _, flags: _flags, ...route }: Route, more: Partial<NewRoute>): NewRoute => ({
  ...route,
  ...more,
});

/** Routes without a gateway first: they make the gateways of the others reachable. */
const inOrder = (routes: readonly Route[]) =>
  [...routes].sort((a, b) => Number(a.gateway !== undefined) - Number(b.gateway !== undefined));

/** What is added to the tables for a source: what the link has in the main table, and a default route. Pure. */
function fill(source: Source, step: SourceRouteStep, link: number, routes: readonly Route[]): Op<void>[] {
  const { table, gateway, subnet, fixed } = source;
  const own = inOrder(routesOf(source, step, routes));
  const dst = defaultRoute(familyOf(subnet));
  const wanted = gateway !== undefined && (fixed || !own.some(isDefault));
  // Nobody looks up the last table: what is replaced waits there for DEL.
  const tableOf = (route: Route) => (fixed && isDefault(route) ? step.tables + SOURCE_TABLES - 1 : table);
  return [
    ...own.map((route) => replaceRoute(copyOf(route, { table: tableOf(route) }))),
    ...(wanted ? [tolerating(addRoute({ dst, link, gateway, table, protocol: PROTOCOL }), 'EEXIST')] : []),
  ];
}

/** What becomes of the main table: nothing of the link stays there, or with `hints` the way to its subnets. Pure. */
function mainTable({ hints, sources }: SourceRouteStep, routes: readonly Route[]): Op<void>[] {
  return inOrder(routes)
    .reverse()
    .flatMap((route) => {
      const near = hints && route.gateway === undefined;
      if (near && route.source !== undefined) return [];
      const gone = tolerating(deleteRoute(copyOf(route, {})), 'ESRCH');
      const source = near && sources.find(({ subnet }) => networkOf(subnet) === route.dst)?.address;
      return near ? [gone, addRouteBeside(copyOf(route, { source: source || undefined }))] : [gone];
    });
}

async function state(container: Namespace, dev: string) {
  const [link, routes, rules] = await container.send(
    tolerating(getLink(dev), 'ENODEV'),
    listRoutes(),
    listRules(),
  );
  const index = link.ok ? link.value.index : undefined;
  const all = routes.ok ? routes.value : [];
  return {
    index,
    routes: all.filter((route) => index !== undefined && route.link === index),
    rules: rules.ok ? rules.value : [],
  };
}

const ruleFor = ({ address, table }: Source) => ({
  ...{ from: hostPrefix(address), table, priority: PRIORITY, protocol: PROTOCOL },
});

/** The rules that were made for an attachment, by whomever: those to its tables, and those for its addresses. */
function rulesOf(
  { tables, sources }: SourceRouteStep,
  addresses: readonly string[],
  rules: readonly PolicyRule[],
) {
  const own = new Set(
    [...sources.map(({ address }) => address), ...addresses].map((one) => hostPrefix(canonical(one))),
  );
  return rules.filter(
    ({ from, table, action }) =>
      from !== undefined &&
      action === 'table' &&
      ((table >= tables && table < tables + SOURCE_TABLES) || own.has(hostPrefix(addressOf(from)))),
  );
}

/** What `hints` put in the place of a route. */
const hintless = ({ dst, link, gateway, priority }: Route): Op<void>[] =>
  gateway === undefined
    ? [tolerating(deleteRoute({ dst, link, priority, table: RT_TABLE_MAIN }), 'ESRCH')]
    : [];

/** Without a container there is nothing; without its link only rules are left. */
async function restore(step: SourceRouteStep, { container }: Surroundings): Promise<void> {
  if (!container) return;
  const { index, routes, rules } = await state(container, step.dev);
  const [addresses] = index === undefined ? [] : await container.send(listAddresses({ link: index }));
  const found = addresses?.ok ? addresses.value.map(({ address }) => addressOf(address)) : [];
  const moved = routes.filter(({ table }) => table >= step.tables && table < step.tables + SOURCE_TABLES);
  const back = inOrder(moved.filter(({ protocol }) => protocol !== PROTOCOL));
  await container.send(
    ...rulesOf(step, found, rules).map(({ from = '', table, priority }) =>
      tolerating(deleteRule({ from, table, priority }), 'ENOENT'),
    ),
    ...back.flatMap((route) => [
      ...hintless(route),
      tolerating(addRouteBeside(copyOf(route, { table: RT_TABLE_MAIN })), 'EEXIST'),
    ]),
    ...moved.map((route) => tolerating(deleteRoute(copyOf(route, {})), 'ESRCH')),
  );
}

export const sourceRoute: StepKind<SourceRouteStep> = {
  async apply(step, run) {
    const container = namespaceOf(run.surroundings, 'container');
    await run.flush();
    const { index, routes } = await state(container, step.dev);
    const link = index ?? (await run.link('container', step.dev)).index;
    run.onUndo(`restore the routes of ${step.dev}`, () => restore(step, run.surroundings));
    for (const source of step.sources) run.push('container', tolerating(addRule(ruleFor(source)), 'EEXIST'));
    if (!step.move) return;
    const main = routes.filter((route) => route.table === RT_TABLE_MAIN && isMovable(route));
    for (const source of step.sources) {
      for (const op of fill(source, step, link, main)) run.push('container', op);
    }
    for (const op of mainTable(step, main)) run.push('container', op);
  },

  async verify(step, look) {
    const { routes, rules } = await state(namespaceOf(look.surroundings, 'container'), step.dev);
    const differences: Difference[] = [];
    for (const { address, table, gateway } of step.sources) {
      const from = hostPrefix(address);
      if (!rules.some((rule) => rule.from === from && rule.table === table)) {
        const what = `policy rule from ${address} to table ${table} in the container`;
        differences.push({ what, wanted: 'present', found: 'nothing' });
      }
      const isDue = step.move && gateway !== undefined;
      const own = routes.filter((route) => route.table === table && isDefault(route));
      if (!isDue || own.some((route) => familyOf(route.dst) === familyOf(address))) continue;
      const what = `default route on ${step.dev} in table ${table} in the container`;
      differences.push({ what, wanted: `via ${gateway}`, found: 'nothing' });
    }
    const stray = routes.filter(
      (route) => route.table === RT_TABLE_MAIN && isMovable(route) && isDefault(route),
    );
    if (!step.move || stray.length === 0) return differences;
    const what = `default route on ${step.dev} in table main in the container`;
    return [...differences, { what, wanted: 'nothing', found: `via ${stray[0]?.gateway ?? 'the link'}` }];
  },

  remove: restore,

  render(step, { netns }) {
    const { dev, sources, move, hints } = step;
    const ip = (...words: (string | number | false | undefined)[]) => ipCommand('container', netns, ...words);
    const v6 = (address: string) => familyOf(address) === 6 && '-6';
    const rules = sources.map((source) => {
      const { from, table, priority, protocol } = ruleFor(source);
      return ip(
        v6(from),
        'rule',
        'add',
        'from',
        from,
        'lookup',
        table,
        'priority',
        priority,
        'protocol',
        protocol,
      );
    });
    if (!move) return rules;
    const tables = sources.flatMap(({ address, gateway, table }) => [
      `# each route of ${dev} in table main that is for ${address} is copied to table ${table}`,
      ...(gateway === undefined
        ? []
        : [ip(v6(address), 'route', 'replace', 'default', 'via', gateway, 'dev', dev, 'table', table)]),
    ]);
    const kept = hints
      ? ', but for those without a gateway, whose source is the address of their subnet'
      : '';
    return [...rules, ...tables, `# each route of ${dev} is deleted from table main${kept}`];
  },
};
