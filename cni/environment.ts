import { parseArgs } from './args.ts';
import { CniError, ErrorCode } from './errors.ts';
import type { Command } from './types.ts';

/** The CNI_* variables of one call, checked (SPEC 1.1, "Parameters"). What a command does not use is empty. */
export interface Environment {
  containerId: string;
  ifname: string;
  netns: string;
  path: string[];
  args: Record<string, string>;
  /** CNI_NETNS may be the plugin's own namespace. */
  netnsOverride: boolean;
  /** What was wrong and is tolerated by this command, for the log. */
  tolerated: string[];
}

const COMMANDS: readonly string[] = ['ADD', 'DEL', 'CHECK', 'GC', 'STATUS', 'VERSION'] satisfies Command[];

export function isCommand(text: string): text is Command {
  return COMMANDS.includes(text);
}

interface Variable {
  name: string;
  /** Commands that fail without it, or with a bad one. */
  requiredFor: readonly Command[];
  /** What is wrong with a value, in words. */
  fault?: (value: string) => string | undefined;
}

const VARIABLES: readonly Variable[] = [
  { name: 'CNI_CONTAINERID', requiredFor: ['ADD', 'CHECK', 'DEL'], fault: containerIdFault },
  { name: 'CNI_NETNS', requiredFor: ['ADD', 'CHECK'] },
  { name: 'CNI_IFNAME', requiredFor: ['ADD', 'CHECK', 'DEL'], fault: linkNameFault },
  // As libcni's skel demands; the specification's text does not.
  { name: 'CNI_PATH', requiredFor: ['ADD', 'CHECK', 'DEL', 'GC'] },
];

/** A bad CNI_ARGS must not keep a container from being deleted. */
const ARGS_COUNT_FOR: readonly Command[] = ['ADD', 'CHECK'];

/** Reads and checks the variables for a command; throws one CniError(invalidEnvironment) that names every one at fault. */
export function readEnvironment(
  env: Readonly<Record<string, string | undefined>>,
  command: Command,
  knownArgs: readonly string[],
): Environment {
  const faults: string[] = [];
  for (const { name, requiredFor, fault } of VARIABLES) {
    if (!requiredFor.includes(command)) continue;
    const value = env[name] ?? '';
    const problem = value === '' ? 'is missing' : fault?.(value);
    if (problem !== undefined) faults.push(`${name} ${problem}`);
  }
  const args = parseArgs(env.CNI_ARGS ?? '', knownArgs);
  const argFaults = args.faults.map((fault) => `CNI_ARGS: ${fault}`);
  const argsCount = ARGS_COUNT_FOR.includes(command);
  if (argsCount) faults.push(...argFaults);
  if (faults.length > 0) {
    throw new CniError(ErrorCode.invalidEnvironment, `environment of ${command}: ${faults.join('; ')}`);
  }
  return {
    containerId: env.CNI_CONTAINERID ?? '',
    ifname: env.CNI_IFNAME ?? '',
    netns: env.CNI_NETNS ?? '',
    path: (env.CNI_PATH ?? '').split(':').filter((folder) => folder !== ''),
    args: args.values,
    netnsOverride: /^(1|true)$/i.test(env.CNI_NETNS_OVERRIDE ?? ''),
    tolerated: argsCount ? [] : argFaults,
  };
}

/** Container ids and network names become parts of file names: nothing that leads to another folder gets through. */
export const NAME_PATTERN = /^[A-Za-z0-9][A-Za-z0-9_.-]*$/;
export const NAME_WANTED = 'a letter or digit, then letters, digits, "_", "." and "-"';

function containerIdFault(id: string): string | undefined {
  return NAME_PATTERN.test(id) ? undefined : `is ${quoted(id)}: wanted ${NAME_WANTED}`;
}

/**
 * What is wrong with the name of a link, in words that come after its field; undefined when nothing is. By dev_valid_name in the
 * kernel's net/core/dev.c, and `%`, of which the kernel would make another name.
 */
export function linkNameFault(name: string): string | undefined {
  if (Buffer.byteLength(name) > 15) return `is ${quoted(name)}: wanted at most 15 bytes`;
  if (name === '.' || name === '..') return `is ${quoted(name)}: wanted another name than "." and ".."`;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is refused
  return /[/:%\s\u0000-\u001f\u007f]/.test(name)
    ? `is ${quoted(name)}: wanted no "/", ":", "%", white space or control character`
    : undefined;
}

/** A value as a message shows it: one line, cut where nobody reads on. */
export function quoted(text: string): string {
  return JSON.stringify(text.length > 200 ? `${text.slice(0, 200)}...` : text);
}
