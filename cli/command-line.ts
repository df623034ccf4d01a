/** A command line over a tree of commands: what each command is given, how errors read, what the exit status says. */
import { basename, dirname, join } from 'node:path';
import { type Application, buildApplication, ExitCode, type RouteMap, run, text_en } from '@stricli/core';
import type { Ambient } from '../cni/ambient.ts';
import { CniError } from '../cni/errors.ts';
import { UsageError, type WeftContext } from './context.ts';
import type { Terminal } from './terminal.ts';
import { WEFT_VERSION } from './version.ts';

export interface CommandLine {
  app: Application<WeftContext>;
  context: WeftContext;
  /** Runs the command that the words name. Returns the exit status: 0 done, 1 failed, 2 usage. */
  run(argv: readonly string[]): Promise<number>;
}

export function commandLine(root: RouteMap<WeftContext>, ambient: Ambient, terminal: Terminal): CommandLine {
  const app = application(root, Boolean(ambient.env.WEFT_DEBUG));
  const io: WeftContext['process'] & { exitCode?: number | string | null } = {
    stdout: { write: (text: string) => terminal.out(text), ...colours(terminal) },
    stderr: { write: (text: string) => terminal.err(text), ...colours(terminal) },
  };
  let chosen: number | undefined;
  const context = {
    ...{ process: io, ambient, terminal, home: executablesFolder() },
    endWith: (status: number) => {
      chosen = status;
    },
  };
  return {
    app,
    context,
    run: async (argv) => {
      await run(app, argv, context);
      const status = exitStatus(io.exitCode);
      if (status === 0 && chosen !== undefined) return chosen;
      if (status === 2) terminal.err(`see "${['weft', ...commandIn(app, argv)].join(' ')} --help"\n`);
      return status || (terminal.lost?.() ? 1 : 0);
    },
  };
}

/** `debug`: errors that nobody foresaw are printed with their stack. */
function application(root: RouteMap<WeftContext>, debug: boolean): Application<WeftContext> {
  const errorText = (error: unknown) => describe(error, debug);
  return buildApplication(root, {
    name: 'weft',
    versionInfo: { currentVersion: WEFT_VERSION },
    scanner: { caseStyle: 'allow-kebab-for-camel', allowArgumentEscapeSequence: true },
    documentation: { caseStyle: 'convert-camel-to-kebab', onlyRequiredInUsageLine: true },
    localization: {
      text: {
        ...text_en,
        briefs: { ...text_en.briefs, argumentEscapeSequence: 'What follows is no option' },
        exceptionWhileRunningCommand: (error) => `weft: ${errorText(error)}`,
        commandErrorResult: (error) => `weft: ${errorText(error)}`,
        exceptionWhileParsingArguments: (error, ansiColor) =>
          `weft: ${small(text_en.exceptionWhileParsingArguments.call({ formatException: errorText }, error, ansiColor))}`,
        noCommandRegisteredForInput: (found) => `weft: ${small(text_en.noCommandRegisteredForInput(found))}`,
      },
    },
    determineExitCode: (error) => (error instanceof UsageError ? 2 : 1),
  });
}

/** As all our errors begin. */
const small = (text: string) => text.charAt(0).toLowerCase() + text.slice(1);

/** The words of a command line that name a command, or a group of them. */
function commandIn(app: Application<WeftContext>, argv: readonly string[]): string[] {
  const known: string[] = [];
  let target: Application<WeftContext>['root'] | undefined = app.root;
  for (const word of argv) {
    target =
      target && 'getRoutingTargetForInput' in target ? target.getRoutingTargetForInput(word) : undefined;
    if (target === undefined) break;
    known.push(word);
  }
  return known;
}

/** stricli tells a wrong command line from a failed command by negative numbers. */
function exitStatus(code: number | string | null | undefined): number {
  const wrongUsage: readonly unknown[] = [ExitCode.InvalidArgument, ExitCode.UnknownCommand];
  if (wrongUsage.includes(code)) return 2;
  const status = Number(code ?? 0);
  return status < 0 || status > 255 ? 1 : status;
}

/** What stricli asks a stream for colour. */
function colours(terminal: Terminal): { getColorDepth?: () => number } {
  return terminal.color ? { getColorDepth: () => 4 } : {};
}

function describe(error: unknown, debug: boolean): string {
  if (error instanceof CniError) {
    return error.details === undefined ? error.message : `${error.message} (${error.details})`;
  }
  if (error instanceof UsageError) return error.message;
  if (!(error instanceof Error)) return String(error);
  return debug ? (error.stack ?? error.message) : error.message;
}

/** The bundle lies beside the executables; run from the sources, they are where `make build` puts them. */
function executablesFolder(): string {
  const here = import.meta.dirname;
  return basename(here) === 'cli' ? join(dirname(here), 'dist', 'bin') : here;
}
