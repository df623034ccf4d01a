/**
 * The `weft` command. What a command does is loaded when it runs, so that `weft --help` and every other command start
 * fast; here stands only what the help text and the completion need.
 */
import { basename, dirname, join } from 'node:path';
import {
  type Application,
  buildApplication,
  buildRouteMap,
  ExitCode,
  proposeCompletions,
  run,
  text_en,
} from '@stricli/core';
import type { Ambient } from '../cni/ambient.ts';
import { CniError } from '../cni/errors.ts';
import { agent, completion, demo, plan, status, top, version } from './commands.ts';
import { containerCommands } from './container/commands.ts';
import { withCommandApart } from './container/words.ts';
import { UsageError, type WeftContext } from './context.ts';
import { doctor } from './doctor/commands.ts';
import { nat } from './nat/commands.ts';
import { net } from './net/commands.ts';
import { network } from './network/commands.ts';
import { sandbox } from './sandbox/commands.ts';
import { realTerminal, type Terminal } from './terminal.ts';
import { trace } from './trace/commands.ts';
import { WEFT_VERSION } from './version.ts';

const DESCRIPTION = `weft wires containers to networks: a suite of CNI plugins, and this command to use and to understand them.

EXAMPLES
  weft net list                                networks in /etc/cni/net.d
  weft net add podnet blue                     attach the namespace "ip netns add blue" made
  weft net add ./podnet.conflist 4711 --json   the namespace of process 4711; print the CNI result
  weft net del podnet blue                     detach it
  weft plan podnet.conflist                    what ADD would do, as ip and nft lines; touches nothing
  weft status                                  whether this host is well
  weft network show podnet                     which hosts a network between hosts has
  weft nat                                     what rewrites addresses here, whose it is, what looks wrong
  weft doctor                                  what is wrong here, why it matters, what mends it
  weft run --rm -it --net demo sh              a shell in a container with a network
  weft run -d --name web --net demo -p 8080:80 --memory 64m busybox httpd -f
  weft ps, logs, exec, stats, stop, rm         what runs, and what becomes of it
  weft demo bridge                             two containers, a host and the outside, simulated
  eval "$(weft completion bash)"               completion for this shell

EXIT STATUS
  0  done
  1  the operation failed; standard error says why
  2  the command line is wrong

ENVIRONMENT
  CNI_PATH         folders with plugins, separated by ':'
  WEFT_CONF_DIR    network configurations [/etc/cni/net.d]
  WEFT_DATA_DIR    leases [/var/lib/cni/networks]
  WEFT_CACHE_DIR   results, shared with libcni's users [/var/lib/cni]
  WEFT_RUN_DIR     locks, the agent's socket [/run/weft]
  WEFT_AGENT       'off': plugins do not ask the agent
  NO_COLOR         no colour, also on a terminal`;

/** The command tree. `debug`: errors that nobody foresaw are printed with their stack. */
export function weftApplication(debug = false): Application<WeftContext> {
  const errorText = (error: unknown) => describe(error, debug);
  const root = buildRouteMap({
    routes: {
      net,
      network,
      nat,
      ...containerCommands,
      sandbox,
      plan,
      status,
      trace,
      doctor,
      top,
      agent,
      demo,
      version,
      completion,
    },
    docs: { brief: 'Container networks that explain themselves', fullDescription: DESCRIPTION },
  });
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
          `weft: ${text_en.exceptionWhileParsingArguments.call({ formatException: errorText }, error, ansiColor)}`,
        noCommandRegisteredForInput: (found) => `weft: ${text_en.noCommandRegisteredForInput(found)}`,
      },
    },
    determineExitCode: (error) => (error instanceof UsageError ? 2 : 1),
  });
}

/**
 * Runs the command line `argv` (without the program's name) and returns the exit status: 0 done, 1 failed, 2 usage.
 * Output goes to `terminal`; nothing is thrown for what a user can do wrong.
 */
export async function runWeft(
  argv: readonly string[],
  ambient: Ambient,
  terminal: Terminal = realTerminal(ambient.env),
): Promise<number> {
  const app = weftApplication(Boolean(ambient.env.WEFT_DEBUG));
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
  const [first, ...words] = argv;
  if (first === 'help') return await runWeft([...words, '--help'], ambient, terminal);
  if (first === '__complete') {
    const proposals = await proposeCompletions(app, words, context);
    for (const { completion, brief } of proposals) terminal.out(`${completion}\t${brief}\n`);
    return 0;
  }
  if (first === '__ended') {
    const { ended } = await import('./container/ended.ts');
    return await ended(context, words);
  }
  if (first === 'oci') {
    const { runOci } = await import('./oci/main.ts');
    return await runOci(words, context.home, terminal);
  }
  await run(app, withCommandApart(argv), context);
  const status = exitStatus(io.exitCode);
  if (status === 0 && chosen !== undefined) return chosen;
  if (status === 2) terminal.err(`see "${['weft', ...commandIn(app, argv)].join(' ')} --help"\n`);
  return status || (terminal.lost?.() ? 1 : 0);
}

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
