/**
 * The caller's half of the specification (SPEC 1.1, section 3): what each plugin of a list is given, and in which order.
 * The order of events is libcni's, because plugins rely on it.
 */
import type { Ambient } from '../cni/ambient.ts';
import { readEnvironment } from '../cni/environment.ts';
import { CniError, ErrorCode } from '../cni/errors.ts';
import { findPlugin, parseAnswer } from '../cni/invoke.ts';
import type { AttachmentId } from '../cni/types.ts';
import { isAtLeast } from '../cni/versions.ts';
import { type CachedAttachment, listCached, readCached, removeCached, writeCached } from './cache.ts';
import { type NetworkList, parseNetworkList } from './conflist.ts';
import { withAllContainers, withContainer } from './exclusion.ts';
import { type Caller, type RawResult, runForResult, runPlugin, type Sandbox } from './execution.ts';
import { knownVersion, resultInVersionOf } from './version.ts';

/**
 * Runs ADD through the list and keeps the result. After an error nothing is undone: the caller owes a DEL (SPEC 1.1,
 * section 3, "Lifecycle & ordering"). Throws CniError.
 */
export async function addNetwork(caller: Caller, list: NetworkList, sandbox: Sandbox): Promise<RawResult> {
  knownVersion(list);
  assertId(sandbox);
  return await withContainer(caller.ambient, sandbox.containerId, async () => {
    let prevResult: RawResult | undefined;
    for (const plugin of list.plugins) {
      prevResult = await runForResult(caller, list, plugin, { command: 'ADD', sandbox, prevResult });
    }
    const result = prevResult ?? {};
    writeCached(caller.ambient.paths.cacheDir, {
      containerId: sandbox.containerId,
      ifname: sandbox.ifname,
      network: list.name,
      netns: sandbox.netns,
      config: list.json,
      cniArgs: sandbox.args.map(([key, value]) => [key, value]),
      capabilityArgs: { ...sandbox.capabilityArgs },
      result,
    });
    return result;
  });
}

/**
 * Runs CHECK through the list with the cached result. Returns false when the list says `disableCheck` and nothing was asked.
 * Throws CniError: of the first plugin that found a difference, or because nothing was added.
 */
export async function checkNetwork(caller: Caller, list: NetworkList, sandbox: Sandbox): Promise<boolean> {
  assertId(sandbox);
  const { cacheDir } = caller.ambient.paths;
  return await withContainer(caller.ambient, sandbox.containerId, async () => {
    const cached = readCached(cacheDir, list.name, sandbox);
    const asAdded = await listAsAdded(list, cached);
    if (!isAtLeast(knownVersion(asAdded), '0.4.0')) throw tooOld('CHECK', '0.4.0', asAdded);
    if (asAdded.disableCheck) return false;
    if (cached?.result === undefined) {
      throw new CniError(
        ErrorCode.unknownContainer,
        `${sandbox.ifname} of container ${sandbox.containerId} is not attached to network ${list.name}: no result is kept in ${cacheDir}/results`,
      );
    }
    const prevResult = resultInVersionOf(asAdded, cached.result);
    const filled = fillIn(sandbox, cached);
    for (const plugin of asAdded.plugins) {
      await runPlugin(caller, asAdded, plugin, { command: 'CHECK', sandbox: filled, prevResult });
    }
    return true;
  });
}

/** Throws CniError(program) when a plugin of the list is not installed: better known before the first one has done its part. */
export function assertInstalled(caller: Caller, list: NetworkList): void {
  for (const { type } of list.plugins) findPlugin(type, caller.path);
}

/**
 * Runs DEL through the list, last plugin first, and forgets the result. Repeatable. Stops at an error: a plugin before
 * must not release an address while a rule of a plugin after still points to it; the kept result lets the caller try again.
 * @param onError after an ADD that failed there is nothing to try again with: `go on` asks every plugin, then throws
 * @returns whether a result was kept, so that something was attached
 */
export async function delNetwork(
  caller: Caller,
  list: NetworkList,
  sandbox: Sandbox,
  onError: 'stop' | 'go on' = 'stop',
): Promise<boolean> {
  assertId(sandbox);
  return await withContainer(caller.ambient, sandbox.containerId, () =>
    delUnlocked(caller, list, sandbox, onError),
  );
}

async function delUnlocked(
  caller: Caller,
  list: NetworkList,
  sandbox: Sandbox,
  onError: 'stop' | 'go on',
): Promise<boolean> {
  const { cacheDir } = caller.ambient.paths;
  const cached = readForDel(caller.ambient, list.name, sandbox);
  const asAdded = await listAsAdded(list, cached);
  const prevResult = resultForDel(caller.ambient, asAdded, cached);
  const filled = fillIn(sandbox, cached);
  const errors: CniError[] = [];
  for (const plugin of asAdded.plugins.toReversed()) {
    try {
      await runPlugin(caller, asAdded, plugin, { command: 'DEL', sandbox: filled, prevResult });
    } catch (error) {
      if (onError === 'stop' || !(error instanceof CniError)) throw error;
      errors.push(error);
    }
  }
  if (errors.length > 0) throw together(errors);
  removeCached(cacheDir, list.name, sandbox);
  return cached !== undefined;
}

/**
 * Removes what belongs to none of the valid attachments: DEL for those that are cached, then GC to every plugin where the version
 * has it. Goes on after errors and throws one CniError with all of them. Returns the attachments that got a DEL.
 */
export async function gcNetwork(
  caller: Caller,
  list: NetworkList,
  valid: readonly AttachmentId[],
): Promise<AttachmentId[]> {
  const version = knownVersion(list);
  if (list.disableGC) return [];
  return await withAllContainers(caller.ambient, async () => {
    const errors: CniError[] = [];
    const attempt = async (work: () => Promise<void>): Promise<boolean> => {
      try {
        await work();
        return true;
      } catch (error) {
        if (!(error instanceof CniError)) throw error;
        errors.push(error);
        return false;
      }
    };
    const gone: AttachmentId[] = [];
    for (const { containerId, ifname, netns } of stale(caller, list.name, valid)) {
      const sandbox = { containerId, ifname, netns: netns ?? '', args: [], capabilityArgs: {} };
      if (await attempt(async () => void (await delUnlocked(caller, list, sandbox, 'stop'))))
        gone.push({ containerId, ifname });
    }
    if (isAtLeast(version, '1.1.0')) {
      const attachments = valid.map(({ containerId, ifname }) => ({ containerID: containerId, ifname }));
      // The second key is the one that the first text of 1.1 had; plugins of that time read it.
      const inject = { 'cni.dev/valid-attachments': attachments, 'cni.dev/attachments': attachments };
      for (const plugin of list.plugins) {
        await attempt(async () => void (await runPlugin(caller, list, plugin, { command: 'GC', inject })));
      }
    }
    if (errors.length > 0) throw together(errors);
    return gone;
  });
}

/**
 * Asks every plugin whether ADD would work. Returns false when the version has no STATUS and nothing was asked (as libcni
 * does); throws one CniError with the answers of all that are not ready.
 */
export async function statusNetwork(caller: Caller, list: NetworkList): Promise<boolean> {
  if (!isAtLeast(knownVersion(list), '1.1.0')) return false;
  const errors: CniError[] = [];
  for (const plugin of list.plugins) {
    try {
      await runPlugin(caller, list, plugin, { command: 'STATUS' });
    } catch (error) {
      if (!(error instanceof CniError)) throw error;
      errors.push(error);
    }
  }
  if (errors.length > 0) throw together(errors);
  return true;
}

/** The versions that each plugin of a list supports, in the list's order. Throws CniError when one cannot be asked. */
export async function pluginVersions(
  caller: Caller,
  list: NetworkList,
): Promise<{ type: string; supported: string[] }[]> {
  const answers = [];
  for (const plugin of list.plugins) {
    const answer = parseAnswer(
      await runPlugin(caller, list, plugin, { command: 'VERSION' }),
      plugin.type,
      'VERSION',
    );
    const { supportedVersions } = answer;
    const supported = Array.isArray(supportedVersions) ? supportedVersions.map(String) : ['0.1.0'];
    answers.push({ type: plugin.type, supported });
  }
  return answers;
}

/** What ADD was done with, so that DEL and CHECK see the same even if the file has changed or gone since. */
async function listAsAdded(list: NetworkList, cached: CachedAttachment | undefined): Promise<NetworkList> {
  if (cached?.config === undefined) return list;
  const source = 'the cached configuration';
  try {
    const kept = await parseNetworkList(cached.config, source);
    return kept.name === list.name && kept.plugins.length > 0 ? kept : list;
  } catch {
    // libcni's users may cache what only they can read; the network's file is the next best.
    return list;
  }
}

/** What the caller did not give again, from ADD. */
function fillIn(sandbox: Sandbox, cached: CachedAttachment | undefined): Sandbox {
  if (cached === undefined) return sandbox;
  const given = Object.keys(sandbox.capabilityArgs).length > 0;
  return {
    ...sandbox,
    args: sandbox.args.length > 0 ? sandbox.args : cached.cniArgs,
    capabilityArgs: given ? sandbox.capabilityArgs : cached.capabilityArgs,
  };
}

/** A broken cache must not keep a container from being removed. */
function readForDel(ambient: Ambient, network: string, id: AttachmentId): CachedAttachment | undefined {
  try {
    return readCached(ambient.paths.cacheDir, network, id);
  } catch (error) {
    if (!(error instanceof CniError) || error.code !== ErrorCode.decoding) throw error;
    ambient.log(`DEL goes on without a previous result: ${error.message}`);
    return undefined;
  }
}

function resultForDel(
  ambient: Ambient,
  list: NetworkList,
  cached: CachedAttachment | undefined,
): RawResult | undefined {
  if (cached?.result === undefined || !isAtLeast(knownVersion(list), '0.4.0')) return undefined;
  try {
    return resultInVersionOf(list, cached.result);
  } catch (error) {
    ambient.log(`DEL goes on without a previous result: ${(error as Error).message}`);
    return undefined;
  }
}

function stale(caller: Caller, network: string, valid: readonly AttachmentId[]): CachedAttachment[] {
  const isValid = ({ containerId, ifname }: AttachmentId): boolean =>
    valid.some((one) => one.containerId === containerId && one.ifname === ifname);
  return listCached(caller.ambient.paths.cacheDir, network).filter((cached) => !isValid(cached));
}

/** Names go into file names and the environment: checked before anything is touched. Throws CniError(invalidEnvironment). */
function assertId({ containerId, ifname }: AttachmentId): void {
  readEnvironment({ CNI_CONTAINERID: containerId, CNI_IFNAME: ifname, CNI_PATH: '-' }, 'DEL', []);
}

function tooOld(command: string, since: string, list: NetworkList): CniError {
  return new CniError(
    ErrorCode.incompatibleVersion,
    `${command} needs cniVersion ${since}, network ${list.name} has ${list.cniVersion}`,
  );
}

function together(errors: readonly CniError[]): CniError {
  const [first] = errors;
  if (first !== undefined && errors.length === 1) return first;
  return new CniError(
    first?.code ?? ErrorCode.internal,
    errors.map((error) => error.message).join('; '),
    errors.flatMap((error) => error.details ?? []).join('; ') || undefined,
    { cause: errors },
  );
}
