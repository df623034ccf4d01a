/** The verbs of the specification, made from a plugin's definition once for all plugins. */
import { CniError, ErrorCode } from '../cni/errors.ts';
import type { AttachmentRequest, GcRequest, PluginVerbs, VerbRequest } from '../cni/plugin.ts';
import type { Result } from '../cni/types.ts';
import { formatResult } from '../cni/versions.ts';
import type { Holdings } from '../firewall/holdings.ts';
import type { IpamResult } from '../ipam/ipam.ts';
import { describeDifference } from '../plan/difference.ts';
import { type Applied, apply, collect, linkExists, remove, verify } from '../plan/engine.ts';
import { joinErrors } from '../plan/failure.ts';
import { hostLinkName } from '../plan/names.ts';
import { isOwnLink, type MasqueradeBackend, type Step } from '../plan/step.ts';
import { removeForeignLink } from '../plan/steps/veth.ts';
import { addressManagement } from './address-management.ts';
import {
  answerOf,
  type Definition,
  linksOf,
  type PlanInput,
  type PluginConf,
  planFor,
  type Verb,
} from './definition.ts';
import { adopt, answerFrom, mergeResults, resultOf } from './outcome.ts';
import { type AttachmentRecord, dropRecord, dropStaleRecords, keepRecord, recordedSteps } from './record.ts';
import { requireRights } from './rights.ts';
import { type PluginKit, type Session, withSession } from './session.ts';

/** What a plugin makes of a configuration that has no IPAM. */
const NO_ADDRESSES: IpamResult = { ips: [], routes: [], dns: {} };

/** A definition as the protocol skeleton wants it. */
export function definePlugin<C extends PluginConf>(
  definition: Definition<C>,
  kit: PluginKit,
): PluginVerbs<C> {
  const { type, about, config, knownArgs } = definition;
  return {
    type,
    about,
    config,
    knownArgs,
    ...(definition.validate && { validate: definition.validate }),
    add: (request) =>
      withSession(kit, request.ambient, { netns: request.attachment.netns, absent: 'error' }, (session) =>
        add(definition, resolved(definition, request, 'ADD'), session),
      ),
    check: (request) =>
      withSession(kit, request.ambient, { netns: request.attachment.netns, absent: 'error' }, (session) =>
        check(definition, resolved(definition, request, 'CHECK'), session),
      ),
    del: (request) =>
      withSession(kit, request.ambient, { netns: request.attachment.netns, absent: 'tolerated' }, (session) =>
        del(definition, resolved(definition, request, 'DEL'), session),
      ),
    gc: (request) =>
      withSession(kit, request.ambient, undefined, (session) => {
        const stale = dropStaleRecords(type, request);
        return gc(definition, resolved(definition, request, 'GC'), stale, session, kit);
      }),
    status: (request) =>
      withSession(kit, request.ambient, undefined, (session) =>
        status(definition, resolved(definition, request, 'STATUS'), session),
      ),
  };
}

function resolved<C extends PluginConf, R extends VerbRequest<C>>(
  definition: Definition<C>,
  request: R,
  verb: Verb,
): R {
  const { resolve } = definition;
  return resolve ? { ...request, config: resolve(request.config, request.ambient, verb) } : request;
}

function inputOf<C>({ config, attachment, args, ambient, prevResult }: AttachmentRequest<C>): PlanInput<C> {
  return { config, attachment, args, hostId: ambient.hostId(), prevResult };
}

async function add<C extends PluginConf>(
  definition: Definition<C>,
  request: AttachmentRequest<C>,
  session: Session,
): Promise<Result> {
  const { ifname, netns } = request.attachment;
  definition.validateArgs?.(request.args);
  const ipam = await addressManagement(request.config);
  ipam?.validate();
  if (await linkExists(session, 'container', ifname)) {
    throw new CniError(
      ErrorCode.conflict,
      `the container has a link ${ifname} already (in ${netns}): CNI_IFNAME must be a free name`,
    );
  }
  const input = inputOf(request);
  const links = definition.links(input);
  const handed = !ipam && request.prevResult ? definition.handed?.(request.prevResult) : undefined;
  const before = request.prevResult;
  const previous = handed && before ? { ...before, ips: [], routes: [] } : before;
  request.ambient.begins?.();
  const early = ipam?.needsLink ? await apply(links, session) : undefined;
  let answer: IpamResult | undefined;
  try {
    answer = ipam ? await ipam.add(request) : (handed ?? NO_ADDRESSES);
    const completed = answerOf(definition, request.config, answer);
    // What the configuration's version cannot say is refused while nothing is made yet.
    formatResult(mergeResults(previous, { interfaces: [], ...completed }), request.cniVersion);
    const plan = [
      ...(early ? links : definition.links(input, completed)),
      ...definition.addresses(input, completed),
    ];
    const applied = await apply(early ? plan.slice(links.length) : plan, session, early?.facts);
    const own = resultOf(plan, applied.facts, request.attachment, completed, request.config.dns);
    const result = mergeResults(previous, own);
    await keepRecord(definition.type, request, plan, session);
    return result;
  } catch (error) {
    await takeBack(request, early, () => ipam?.undo(request, answer));
    throw error;
  }
}

/** After a failed ADD. What fails here is told to the log: the runtime needs the first error. */
async function takeBack<C extends PluginConf>(
  request: AttachmentRequest<C>,
  early: Applied | undefined,
  release: () => Promise<void> | undefined,
): Promise<void> {
  const failures: string[] = [];
  // Addresses that were asked for by means of the link are given back by it.
  try {
    await release();
  } catch (error) {
    failures.push(
      `could not release the addresses: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
  failures.push(...((await early?.undo()) ?? []));
  for (const failure of failures) request.ambient.log(`ADD failed, and ${failure}`);
}

async function check<C extends PluginConf>(
  definition: Definition<C>,
  request: AttachmentRequest<C>,
  session: Session,
): Promise<void> {
  const { prevResult, attachment, config } = request;
  if (!prevResult) {
    throw new CniError(
      ErrorCode.invalidConfig,
      'CHECK needs prevResult: the result of the ADD that is checked',
    );
  }
  const ipam = await addressManagement(config);
  ipam?.validate();
  const answer = answerFrom(prevResult, attachment.ifname);
  const { plan, foreign } = adopt(planFor(definition, inputOf(request), answer), prevResult);
  const checked = foreign ? plan.filter((step) => !isOwnShape(step)) : plan;
  const differences = await verify(checked, session);
  if (differences.length > 0) {
    const lines = differences.map(describeDifference);
    throw new CniError(
      ErrorCode.checkFailed,
      `${attachment.ifname} of ${attachment.containerId} is not as ADD made it: ${lines.join('; ')}`,
    );
  }
  await ipam?.check(request);
}

/** What another implementation makes in a shape of its own, or not at all: packet filter rules, link-local addresses of a link's host end. */
function isOwnShape(step: Step): boolean {
  if (step.kind === 'address') return step.in === 'host' && step.address.startsWith('fe80:');
  return step.kind === 'masquerade' || step.kind === 'mac-filter';
}

function askedBackend(config: PluginConf): MasqueradeBackend | undefined {
  const backend = config.ipMasqBackend;
  return backend === 'iptables' || backend === 'nftables' ? backend : undefined;
}

/** What the host holds of the network; the configuration may have said something else when ADD came. */
async function holdingsOf(session: Session, network: string): Promise<Holdings> {
  const { holdings } = await import('../firewall/holdings.ts');
  return await holdings(session.host, network);
}

/** The backends in which something of the network may be; undefined stands for the one that fits this host. */
function backendsOf(config: PluginConf, held: Holdings): (MasqueradeBackend | undefined)[] {
  const asked = askedBackend(config);
  if (!config.ipMasq || held.masquerade.some((name) => name === (asked ?? name))) return held.masquerade;
  return [...held.masquerade, asked];
}

/** What DEL is told of the addresses; none: everything of the network is looked at for the attachment's mark. */
function sourcesOf<C extends PluginConf>(
  { config, attachment, prevResult }: AttachmentRequest<C>,
  recorded: readonly Step[],
): string[] {
  if (prevResult) return answerFrom(prevResult, attachment.ifname).ips.map(({ address }) => address);
  return recorded.flatMap((step) =>
    step.kind === 'masquerade' && step.network === config.name ? step.sources : [],
  );
}

/** The parts of an attachment that outlive its link `dev` on the host. */
function beyondTheLink<C extends PluginConf>(
  { config, attachment }: AttachmentRequest<C>,
  sources: string[],
  dev: string,
  held: Holdings,
): Step[] {
  const { network, containerId, ifname } = attachment;
  const owner = { network, containerId, ifname };
  return [
    ...backendsOf(config, held).map(
      (backend): Step => ({
        kind: 'masquerade',
        ...{ ...owner, sources, except: [] },
        ...(backend && { backend }),
      }),
    ),
    ...(held.macFilter ? [{ kind: 'mac-filter', ...owner, dev, mac: '' } as const] : []),
  ];
}

async function del<C extends PluginConf>(
  definition: Definition<C>,
  request: AttachmentRequest<C>,
  session: Session,
): Promise<void> {
  const { network, containerId, ifname } = request.attachment;
  const sources = sourcesOf(request, request.prevResult ? [] : recordedSteps(definition.type, request));
  dropRecord(definition.type, request);
  const errors: unknown[] = [];
  const attempt = async (work: () => Promise<unknown>) => {
    try {
      await work();
    } catch (error) {
      errors.push(error);
    }
  };
  const ipam = await addressManagement(request.config);
  const release = () => attempt(async () => ipam?.del(request));
  if (ipam?.needsLink) await release();
  // Link, then packet filter, then lease: an address that can be given out again has nothing left on the host.
  const links = linksOf(definition, inputOf(request)).filter(isOwnLink);
  await attempt(() => remove(links, session));
  const { plan: adopted, foreign } = adopt(links, request.prevResult);
  for (const step of foreign ? adopted : []) {
    if (step.kind === 'veth') await attempt(() => removeForeignLink(step, session));
  }
  await attempt(async () => {
    const held = await holdingsOf(session, network);
    const dev = hostLinkName(network, { containerId, ifname });
    await remove(beyondTheLink(request, sources, dev, held), session);
  });
  await attempt(async () => {
    if (!request.config.ipMasq) return;
    const { removeReferenceDebris } = await import('../firewall/debris.ts');
    await removeReferenceDebris(session.host, session.ambient, { network, containerId, ifname });
  });
  await attempt(async () => {
    if (!request.config.macspoofchk) return;
    const { removeReferenceMacFilter } = await import('../firewall/mac-filter-debris.ts');
    await removeReferenceMacFilter(session.host, { containerId, ifname });
  });
  if (!ipam?.needsLink) await release();
  joinErrors(errors, `DEL of ${ifname} of ${containerId} is not complete`);
}

async function gc<C extends PluginConf>(
  definition: Definition<C>,
  request: GcRequest<C>,
  stale: readonly AttachmentRecord[],
  session: Session,
  { door }: PluginKit,
): Promise<void> {
  const { config, valid } = request;
  const failures: unknown[] = [];
  const held = await holdingsOf(session, config.name).catch((error: unknown): Holdings => {
    failures.push(error);
    return { masquerade: [], macFilter: false };
  });
  const { removed, errors } = await collect(
    { network: config.name, valid, masquerade: backendsOf(config, held), macFilter: held.macFilter },
    session,
  );
  errors.push(...failures);
  try {
    if (stale.length > 0) {
      const { collectInside } = await import('./collect-inside.ts');
      removed.push(...(await collectInside(definition, request, stale, session, door)));
    }
    removed.push(...((await definition.collect?.(request, session)) ?? []));
  } catch (error) {
    errors.push(error);
  }
  for (const what of removed) request.ambient.log(`GC of ${config.name}: removed ${what}`);
  try {
    const ipam = await addressManagement(config);
    await ipam?.gc(request);
  } catch (error) {
    errors.push(error);
  }
  joinErrors(errors, `GC of ${config.name} is not complete`);
}

async function status<C extends PluginConf>(
  definition: Definition<C>,
  request: VerbRequest<C>,
  session: Session,
): Promise<void> {
  const { config } = request;
  // Without the right to look there is none to change; a socket without an answer would show here, too.
  await linkExists(session, 'host', 'lo');
  await requireRights(session.host);
  await definition.ready?.(config, session);
  if (config.ipMasq) {
    await (await session.firewall(askedBackend(config))).probe();
  }
  if (config.macspoofchk) await (await session.macFilter()).probe();
  const ipam = await addressManagement(config);
  ipam?.validate();
  await ipam?.status(request);
}
