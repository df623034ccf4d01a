/**
 * The `weft` command. What a command does is loaded when it runs, so that `weft --help` and every other command start
 * fast; here stands only what the help text and the completion need.
 */
import { buildRouteMap, proposeCompletions } from '@stricli/core';
import type { Ambient } from '../cni/ambient.ts';
import { agent } from './agent/definition.ts';
import { commandLine } from './command-line.ts';
import { completion, demo, plan, status, top, version } from './commands.ts';
import { containerCommands } from './container/commands.ts';
import { withCommandApart } from './container/words.ts';
import { doctor } from './doctor/commands.ts';
import { nat } from './nat/commands.ts';
import { net } from './net/commands.ts';
import { network } from './network/commands.ts';
import { oci } from './oci/definition.ts';
import { sandbox } from './sandbox/commands.ts';
import { realTerminal, type Terminal } from './terminal.ts';
import { trace } from './trace/commands.ts';

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

/** All commands. */
export const root = buildRouteMap({
  routes: {
    net,
    network,
    nat,
    ...containerCommands,
    sandbox,
    oci,
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

/**
 * Runs the command line `argv` (without the program's name) and returns the exit status: 0 done, 1 failed, 2 usage.
 * Output goes to `terminal`; nothing is thrown for what a user can do wrong.
 */
export async function runWeft(
  argv: readonly string[],
  ambient: Ambient,
  terminal: Terminal = realTerminal(ambient.env),
): Promise<number> {
  const line = commandLine(root, ambient, terminal);
  const { app, context } = line;
  const [first, ...words] = argv;
  if (first === 'help') return await runWeft([...words, '--help'], ambient, terminal);
  if (first === '__complete') {
    // Words of the container's command are files, as far as anybody can know here.
    if (withCommandApart(words) !== words) return 0;
    const proposals = await proposeCompletions(app, words, context);
    for (const { completion, brief } of proposals) terminal.out(`${completion}\t${brief}\n`);
    return 0;
  }
  if (first === '__manual') {
    const { manual } = await import('./manual.ts');
    const helpOf = async (asked: readonly string[]) => {
      const said: string[] = [];
      const page = { ...terminal, color: false, out: (text: string) => void said.push(text) };
      await runWeft([...asked, '--help'], ambient, page);
      return said.join('');
    };
    terminal.out(await manual(root, helpOf));
    return 0;
  }
  if (first === '__ended') {
    const { ended } = await import('./container/ended.ts');
    return await ended(context, words);
  }
  return await line.run(withCommandApart(argv));
}
