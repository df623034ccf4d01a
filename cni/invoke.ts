import { accessSync, constants, statSync } from 'node:fs';
import type { Ambient, RunResult } from './ambient.ts';
import { showValue } from './config.ts';
import { CniError, ErrorCode } from './errors.ts';
import type { Command } from './types.ts';

/** One execution of another plugin's program, by a plugin (delegation) or by a runtime. */
export interface Invocation {
  /** The program's name, looked up in `path`; part of every error. */
  type: string;
  /** Folders, searched in order. */
  path: readonly string[];
  command: Command;
  /** The whole environment of the program; CNI_COMMAND is set from `command`. */
  env: Readonly<Record<string, string | undefined>>;
  /** Its standard input: a network configuration as JSON. */
  input: string;
  ambient: Ambient;
}

/** A program that is just being installed cannot be executed (ETXTBSY); it is tried again for about five seconds. */
const BUSY_TRIES = 50;
const BUSY_PAUSE_MS = 100;
const SHOWN_OUTPUT = 200;

/**
 * Executes a plugin (SPEC 1.1, section 2, and section 4, "Plugin delegation") and returns its standard output; its stderr goes to ours.
 * Throws the plugin's own error unchanged (code, msg, details); CniError(invalidConfig) when `type` is no file name;
 * CniError(program) when it is not on the path, cannot be started, or fails without an error in JSON.
 */
export async function invokePlugin(invocation: Invocation): Promise<string> {
  const { type, path, command, env, input, ambient } = invocation;
  const file = findPlugin(type, path);
  const answer = await runWhenReady(ambient, file, { ...env, CNI_COMMAND: command }, input);
  if (answer.status === 0) return answer.stdout;
  const error = readError(answer.stdout);
  if (error !== undefined) throw error;
  throw new CniError(
    ErrorCode.program,
    `${command} by ${file} ended with status ${answer.status}: wanted an error as JSON on its standard output, ` +
      `found ${shown(answer.stdout)}`,
  );
}

/** Whether a plugin's type can be a file name; what is longer than NAME_MAX cannot (linux/limits.h). */
export function isProgramName(type: string): boolean {
  return (
    type !== '' && type !== '.' && type !== '..' && !/[/\0]/.test(type) && Buffer.byteLength(type) <= 255
  );
}

/** Throws CniError(invalidConfig). */
export function assertProgramName(type: string): void {
  if (isProgramName(type)) return;
  throw new CniError(
    ErrorCode.invalidConfig,
    `plugin type ${showValue(type)}: wanted the name of a file on CNI_PATH, without "/"`,
  );
}

/** The first executable file of that name. Throws CniError(invalidConfig) on a path instead of a name, CniError(program) when there is none. */
export function findPlugin(type: string, path: readonly string[]): string {
  assertProgramName(type);
  const files = path.map((folder) => `${folder}/${type}`);
  const found = files.find(isExecutable);
  if (found !== undefined) return found;
  const there = files.find((file) => isFile(file));
  const problem =
    path.length === 0
      ? 'CNI_PATH names no folder'
      : there === undefined
        ? `it is in none of ${path.join(', ')}: install it or correct CNI_PATH`
        : `${there} is not executable`;
  const name = /^[\w.-]+$/.test(type) ? type : showValue(type);
  throw new CniError(ErrorCode.program, `plugin ${name} cannot be executed: ${problem}`);
}

function isFile(file: string): boolean {
  try {
    return statSync(file).isFile();
  } catch {
    return false;
  }
}

function isExecutable(file: string): boolean {
  if (!isFile(file)) return false;
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

async function runWhenReady(
  ambient: Ambient,
  file: string,
  env: Readonly<Record<string, string | undefined>>,
  input: string,
): Promise<RunResult> {
  for (let tries = 1; ; tries++) {
    try {
      return await ambient.run(file, [], { env, input, passStderr: true });
    } catch (error) {
      if (tries === BUSY_TRIES || !isBusy(error)) throw error;
      await new Promise((resolve) => setTimeout(resolve, BUSY_PAUSE_MS));
    }
  }
}

function isBusy(error: unknown): boolean {
  const cause = error instanceof Error ? error.cause : undefined;
  return [error, cause].some((one) => (one as { code?: unknown } | undefined)?.code === 'ETXTBSY');
}

/** The error object of SPEC 1.1, "Error"; undefined when the output is none. */
function readError(stdout: string): CniError | undefined {
  const value = parseJson(stdout);
  if (typeof value !== 'object' || value === null) return undefined;
  const { code, msg, details } = value as Record<string, unknown>;
  if (!Number.isSafeInteger(code) || (code as number) <= 0) return undefined;
  const text = typeof msg === 'string' ? msg : '';
  return new CniError(code as number, text, typeof details === 'string' ? details : undefined);
}

/** A plugin's standard output as the JSON object it must be. Throws CniError(decoding). */
export function parseAnswer(stdout: string, type: string, command: Command): Record<string, unknown> {
  const value = parseJson(stdout);
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    return value as Record<string, unknown>;
  }
  throw new CniError(
    ErrorCode.decoding,
    `${command} by plugin ${type}: wanted a JSON object on its standard output, found ${shown(stdout)}`,
  );
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function shown(text: string): string {
  const trimmed = text.trim();
  return trimmed === '' ? 'nothing' : JSON.stringify(trimmed.slice(0, SHOWN_OUTPUT));
}
