/** The verbs of a plugin that stands later in a chain: it adds to what the plugins before it made, and passes their result on. */
import type { Paths } from '../cni/ambient.ts';
import { CniError, ErrorCode } from '../cni/errors.ts';
import type {
  AttachmentRequest,
  ConfigSchema,
  GcRequest,
  NetConf,
  PluginVerbs,
  VerbRequest,
} from '../cni/plugin.ts';
import type { Attachment, Result } from '../cni/types.ts';
import { describeDifference } from '../plan/difference.ts';
import { apply, linkExists, remove, verify } from '../plan/engine.ts';
import { joinErrors } from '../plan/failure.ts';
import type { Step } from '../plan/step.ts';
import { dropRecord, dropStaleRecords, keepRecord } from './record.ts';
import { requireRights } from './rights.ts';
import { type PluginKit, type Session, withSession } from './session.ts';

/** Everything a chained plugin's plan may depend on. */
export interface ChainedInput<C> {
  config: C;
  attachment: Attachment;
  /** What the plugins before made; DEL may come without. */
  prevResult: Result | undefined;
  /** CNI_ARGS, parsed. */
  args: Readonly<Record<string, string>>;
  paths: Paths;
}

/** `plan` is pure: no I/O, no clock, no randomness. */
export interface ChainedDefinition<C extends NetConf> {
  readonly type: string;
  /** One line for people. */
  readonly about: string;
  readonly config: ConfigSchema<C>;
  readonly knownArgs: readonly string[];
  /** Throws CniError(invalidConfig) when the fields do not fit each other. */
  validate?(config: C): void;
  /** Throws CniError. For ADD and CHECK `prevResult` is there. */
  plan(input: ChainedInput<C>): Step[];
  /** What the runtime is told, where that is not just what the plugins before said. */
  result?(input: ChainedInput<C>, prevResult: Result): Result;
  /** Whether ADD is not to tell the runtime what is of no use now (`result`). */
  withhold?(request: AttachmentRequest<C>): Promise<boolean>;
  /** Throws CniError where ADD asks for what this host's administrator does not allow, or for what somebody else has. */
  permit?(request: AttachmentRequest<C>, session: Session): Promise<void>;
  /** What DEL takes away, also of a configuration that ADD would refuse by now; absent: what the plan says. */
  removal?(input: ChainedInput<C>): Step[];
  /** After the removal: what another implementation left of this attachment. */
  removeDebris?(request: AttachmentRequest<C>, session: Session): Promise<unknown>;
  /** Whether what CHECK misses was made by another implementation, in its own way. */
  madeElsewhere?(request: AttachmentRequest<C>, session: Session): Promise<boolean>;
  /** Removes what belongs to none of the network's valid attachments; returns what it removed, readable. */
  collect?(request: GcRequest<C>, session: Session): Promise<string[]>;
  /** Throws CniError(notAvailable) when no ADD can succeed. */
  ready?(config: C, session: Session): Promise<void>;
}

/** A definition as the protocol skeleton wants it. */
export function defineChained<C extends NetConf>(
  definition: ChainedDefinition<C>,
  kit: PluginKit,
): PluginVerbs<C> {
  const { type, about, config, knownArgs, validate } = definition;
  const attached = <T>(
    request: AttachmentRequest<C>,
    absent: 'tolerated' | 'error',
    work: (session: Session) => Promise<T>,
  ) => withSession(kit, request.ambient, { netns: request.attachment.netns, absent }, work);
  return {
    ...{ type, about, config, knownArgs, ...(validate && { validate }) },
    add: (request) => attached(request, 'error', (session) => add(definition, request, session)),
    check: (request) => attached(request, 'error', (session) => check(definition, request, session)),
    del: (request) => attached(request, 'tolerated', (session) => del(definition, request, session)),
    gc: (request) =>
      withSession(kit, request.ambient, undefined, (session) => gc(definition, request, session)),
    status: (request) =>
      withSession(kit, request.ambient, undefined, (session) => status(definition, request, session)),
  };
}

/** What a plan is made from. */
export function inputOf<C>({
  config,
  attachment,
  prevResult,
  args,
  ambient,
}: AttachmentRequest<C>): ChainedInput<C> {
  return { config, attachment, prevResult, args, paths: ambient.paths };
}

function previous<C>({ prevResult }: AttachmentRequest<C>, type: string): Result {
  if (prevResult) return prevResult;
  throw new CniError(
    ErrorCode.invalidConfig,
    `${type} has no prevResult: it adds to what another plugin made, so it must come after one in "plugins"`,
  );
}

async function add<C extends NetConf>(
  definition: ChainedDefinition<C>,
  request: AttachmentRequest<C>,
  session: Session,
): Promise<Result> {
  const prevResult = previous(request, definition.type);
  await definition.permit?.(request, session);
  const input = inputOf(request);
  const plan = definition.plan(input);
  if (plan.length === 0) return prevResult;
  request.ambient.begins?.();
  await apply(plan, session);
  await keepRecord(definition.type, request, plan, session);
  if (await definition.withhold?.(request)) return prevResult;
  return definition.result?.(input, prevResult) ?? prevResult;
}

async function check<C extends NetConf>(
  definition: ChainedDefinition<C>,
  request: AttachmentRequest<C>,
  session: Session,
): Promise<void> {
  const { attachment } = request;
  previous(request, definition.type);
  const plan = definition.plan(inputOf(request));
  const differences = await verify(plan, session);
  if (differences.length === 0 || (await definition.madeElsewhere?.(request, session))) return;
  const lines = differences.map(describeDifference).join('; ');
  throw new CniError(
    ErrorCode.checkFailed,
    `${attachment.ifname} of ${attachment.containerId} is not as ADD made it: ${lines}`,
  );
}

async function del<C extends NetConf>(
  definition: ChainedDefinition<C>,
  request: AttachmentRequest<C>,
  session: Session,
): Promise<void> {
  const { attachment } = request;
  dropRecord(definition.type, request);
  const errors: unknown[] = [];
  const plan = (definition.removal ?? definition.plan)(inputOf(request));
  await remove(plan, session).catch((error: unknown) => errors.push(error));
  await definition.removeDebris?.(request, session).catch((error: unknown) => errors.push(error));
  joinErrors(errors, `DEL of ${attachment.ifname} of ${attachment.containerId} is not complete`);
}

async function gc<C extends NetConf>(
  { type, collect }: ChainedDefinition<C>,
  request: GcRequest<C>,
  session: Session,
): Promise<void> {
  dropStaleRecords(type, request);
  const removed = (await collect?.(request, session)) ?? [];
  for (const what of removed) request.ambient.log(`GC of ${request.config.name}: removed ${what}`);
}

async function status<C extends NetConf>(
  { ready }: ChainedDefinition<C>,
  { config }: VerbRequest<C>,
  session: Session,
): Promise<void> {
  // A socket without an answer would show here.
  await linkExists(session, 'host', 'lo');
  await requireRights(session.host);
  await ready?.(config, session);
}
