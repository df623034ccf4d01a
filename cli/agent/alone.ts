/**
 * `weft agent` without the other commands: the process stays, and what it never runs would stay in its memory (6 MiB). A bundle of its own
 * (scripts/build.ts), from which the command line takes `runAgent` as well.
 */
import { buildRouteMap } from '@stricli/core';
import type { Ambient } from '../../cni/ambient.ts';
import { commandLine } from '../command-line.ts';
import { realTerminal } from '../terminal.ts';
import { runAgent } from './command.ts';
import { agent } from './definition.ts';

export { runAgent };

/** @param argv `agent` and its options. Returns the exit status. */
export async function runAgentAlone(argv: readonly string[], ambient: Ambient): Promise<number> {
  const root = buildRouteMap({ routes: { agent }, docs: { brief: 'The agent of this host' } });
  return await commandLine(root, ambient, realTerminal(ambient.env)).run(argv);
}
