/** `weft net add`, `check` and `del`. */
import { CniError, ErrorCode } from '../../cni/errors.ts';
import { readCached } from '../../runtime/cache.ts';
import { addNetwork, assertInstalled, checkNetwork, delNetwork } from '../../runtime/chain.ts';
import { isFileName } from '../../runtime/conf-dir.ts';
import { type NetworkList, parseNetworkList } from '../../runtime/conflist.ts';
import type { Caller, Sandbox } from '../../runtime/execution.ts';
import { defaultContainerId, namespacePath, namespacePathIfAlive } from '../../runtime/sandbox-name.ts';
import { knownVersion } from '../../runtime/version.ts';
import { UsageError, type WeftContext } from '../context.ts';
import { pluginPath } from '../path.ts';
import { assertRoot } from '../rights.ts';
import { lines } from '../table.ts';
import type { AttachmentFlags } from './flags.ts';
import { givenNetwork, warnOfUnknownFields } from './given.ts';
import { reporting } from './report.ts';
import { describeResult } from './result.ts';

/** What root is needed for. */
const INSIDE = "to change what is in a container's namespace";

export async function add(
  this: WeftContext,
  flags: AttachmentFlags,
  network: string,
  netns: string,
): Promise<void> {
  await reporting(this, flags.json, async () => {
    const list = await givenNetwork(this, network);
    await warnOfUnknownFields(this, list);
    const sandbox = sandboxFrom(flags, netns, namespacePath(netns));
    const caller = callerFrom(this, flags);
    assertInstalled(caller, list);
    assertRoot('net add', INSIDE);
    const result = await addOrUndo(caller, list, sandbox);
    if (flags.json) {
      this.terminal.out(`${JSON.stringify(result, null, 2)}\n`);
      return;
    }
    this.terminal.out(
      lines(
        `${describe(sandbox)} is attached to ${list.name}`,
        ...describeResult(result, knownVersion(list)),
      ),
    );
  });
}

export async function check(
  this: WeftContext,
  flags: AttachmentFlags,
  network: string,
  netns: string,
): Promise<void> {
  await reporting(this, flags.json, async () => {
    const list = await givenNetwork(this, network);
    const sandbox = sandboxFrom(flags, netns, namespacePath(netns));
    assertRoot('net check', INSIDE);
    const asked = await checkNetwork(callerFrom(this, flags), list, sandbox);
    if (flags.json) this.terminal.out(`${JSON.stringify({ checked: asked })}\n`);
    else if (asked) this.terminal.out(`${describe(sandbox)} on ${list.name} is as ADD made it\n`);
    else this.terminal.out(`${list.name} has disableCheck: its plugins were not asked\n`);
  });
}

export async function del(
  this: WeftContext,
  flags: AttachmentFlags,
  network: string,
  netns?: string,
): Promise<void> {
  if (netns === undefined && flags.id === undefined) {
    throw new UsageError('which container? give NETNS, or --id if its namespace is gone');
  }
  await reporting(this, flags.json, async () => {
    const sandbox = sandboxFrom(flags, netns ?? '', netns === undefined ? '' : namespacePathIfAlive(netns));
    assertRoot('net del', INSIDE);
    const list = await networkForDel(this, network, sandbox);
    const wasAttached = await delNetwork(
      callerFrom(this, flags),
      list,
      withCachedNamespace(this, list, sandbox),
    );
    if (flags.json) this.terminal.out(`${JSON.stringify({ wasAttached })}\n`);
    else if (wasAttached) this.terminal.out(`${describe(sandbox)} is detached from ${list.name}\n`);
    else {
      this.terminal.out(
        `${describe(sandbox)} was not attached to ${list.name}, as far as is known: its plugins were asked to clean up\n`,
      );
    }
  });
}

/** ADD owes a DEL when it fails (SPEC 1.1, section 3); for a person at a terminal we pay at once. */
async function addOrUndo(
  caller: Caller,
  list: NetworkList,
  sandbox: Sandbox,
): Promise<Record<string, unknown>> {
  const before = isCached(caller.ambient.paths.cacheDir, list.name, sandbox);
  try {
    return await addNetwork(caller, list, sandbox);
  } catch (error) {
    // An attachment that was there before is not ours to undo: this ADD failed because of it.
    if (!(error instanceof CniError) || before) throw error;
    try {
      await delNetwork(caller, list, sandbox, 'go on');
    } catch (undo) {
      const { code, message, details } = error;
      throw new CniError(code, `${message}; then ${(undo as Error).message}`, details, { cause: error });
    }
    throw error;
  }
}

/** Also where the file cannot be understood. Throws CniError(io) before anything is made that could not be written down. */
function isCached(cacheDir: string, network: string, sandbox: Sandbox): boolean {
  try {
    return readCached(cacheDir, network, sandbox) !== undefined;
  } catch (error) {
    if (error instanceof CniError && error.code === ErrorCode.decoding) return true;
    throw error;
  }
}

/** The network's file may be gone when its containers are not: the cache has what it said. */
async function networkForDel(context: WeftContext, network: string, sandbox: Sandbox): Promise<NetworkList> {
  const { cacheDir } = context.ambient.paths;
  try {
    return await givenNetwork(context, network);
  } catch (error) {
    const cached =
      isFileName(network) || network === '-' ? undefined : readCached(cacheDir, network, sandbox);
    if (cached?.config === undefined) throw error;
    return await parseNetworkList(cached.config, 'the cached configuration');
  }
}

/** Without NETNS, the namespace that ADD was given, if it is still one. */
function withCachedNamespace({ ambient }: WeftContext, list: NetworkList, sandbox: Sandbox): Sandbox {
  if (sandbox.netns !== '') return sandbox;
  try {
    const netns = readCached(ambient.paths.cacheDir, list.name, sandbox)?.netns;
    return netns === undefined ? sandbox : { ...sandbox, netns: namespacePathIfAlive(netns) };
  } catch {
    return sandbox;
  }
}

function callerFrom(context: WeftContext, flags: AttachmentFlags): Caller {
  return { ambient: context.ambient, path: pluginPath(context, flags.cniPath) };
}

function sandboxFrom(flags: AttachmentFlags, netns: string, path: string): Sandbox {
  return {
    containerId: flags.id ?? defaultContainerId(netns),
    ifname: flags.ifname,
    netns: path,
    args: flags.arg ?? [],
    capabilityArgs: Object.fromEntries(flags.cap ?? []),
  };
}

function describe({ containerId, ifname }: Sandbox): string {
  return `${ifname} of container ${containerId}`;
}
