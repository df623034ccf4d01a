import { ErrorCode } from './errors.ts';
import { invokePlugin, parseAnswer } from './invoke.ts';
import type { VerbRequest } from './plugin.ts';
import type { Command, Result } from './types.ts';
import { parseResult } from './versions.ts';

/**
 * Delegation (SPEC 1.1, section 4): another plugin, IPAM mostly, is executed with our own environment and the whole
 * configuration. Every function throws the delegate's error unchanged, or what `invokePlugin` throws.
 */

/** The part of a request that a delegate gets; `input` may be replaced by another configuration text. */
export type Delegation = Pick<VerbRequest<unknown>, 'input' | 'cniVersion' | 'path' | 'ambient'>;

/** Returns the result in the newest shape; throws CniError(decoding) when it is none. */
export async function delegateAdd(type: string, request: Delegation): Promise<Result> {
  const answer = parseAnswer(await delegate('ADD', type, request), type, 'ADD');
  return parseResult(answer, request.cniVersion, { name: `result of ${type}`, code: ErrorCode.decoding });
}

export async function delegateCheck(type: string, request: Delegation): Promise<void> {
  await delegate('CHECK', type, request);
}

export async function delegateDel(type: string, request: Delegation): Promise<void> {
  await delegate('DEL', type, request);
}

export async function delegateGc(type: string, request: Delegation): Promise<void> {
  await delegate('GC', type, request);
}

export async function delegateStatus(type: string, request: Delegation): Promise<void> {
  await delegate('STATUS', type, request);
}

/** The versions that a plugin supports. */
export async function delegateVersion(type: string, request: Delegation): Promise<string[]> {
  const { supportedVersions } = parseAnswer(await delegate('VERSION', type, request), type, 'VERSION');
  // SPEC 0.1.0 had no such list; libcni takes that for 0.1.0.
  if (!Array.isArray(supportedVersions)) return ['0.1.0'];
  return supportedVersions.filter((version): version is string => typeof version === 'string');
}

function delegate(command: Command, type: string, { input, path, ambient }: Delegation): Promise<string> {
  return invokePlugin({ type, path, command, env: ambient.env, input, ambient });
}
