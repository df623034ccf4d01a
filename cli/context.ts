/** What every command of `weft` is given. */
import type { CommandContext } from '@stricli/core';
import type { Ambient } from '../cni/ambient.ts';
import type { Terminal } from './terminal.ts';

export interface WeftContext extends CommandContext {
  readonly ambient: Ambient;
  readonly terminal: Terminal;
  /** The folder of the executables that belong to this weft. */
  readonly home: string;
  /** The exit status, where it is not just done or failed: a container's own, a finding. */
  endWith(status: number): void;
}

/** The command line is wrong: exit status 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}
