/**
 * The one entry of every executable: the launcher passes the name it was called by, and its own file's name.
 * A plugin's name runs the protocol skeleton; anything else is the `weft` command. Only weft-oci has an entry of its own (oci.ts).
 */
import type { Ambient } from '../cni/ambient.ts';
import type { PluginVerbs } from '../cni/plugin.ts';
import { runPlugin } from '../cni/skel.ts';
import { isPluginName, loadPlugin } from '../plugins/registry.ts';
import { realAmbient } from '../runtime/ambient.ts';
import { tryWriteAll } from '../runtime/write-all.ts';

/** Throws what keeps the answer from being written. */
function writeAll(fd: number, text: string): void {
  const code = tryWriteAll(fd, text);
  if (code !== undefined) throw new Error(`cannot write to file descriptor ${fd}: ${code}`);
}

/** What the launcher says when the agent went away in the middle of this request: its ADD had begun to change the host. */
async function afterAgent(plugin: PluginVerbs, ambient: Ambient): Promise<Ambient> {
  const { WEFT_HALF_DONE: halfDone, ...env } = ambient.env;
  if (!halfDone) return ambient;
  const input = await ambient.input();
  const again = { ...ambient, env, input: async () => input };
  if (env.CNI_COMMAND === 'ADD') {
    const { clearAway } = await import('../cni/clear-away.ts');
    await clearAway(plugin, again);
  }
  return again;
}

async function main(calledAs: string, file: string, args: string[]): Promise<number> {
  const name = [calledAs, file].find(isPluginName);
  const ambient = realAmbient(process.env);
  if (name === undefined && args[0] === 'agent') {
    const { runAgentAlone } = await import('../cli/agent/alone.ts');
    const status = await runAgentAlone(args, ambient);
    // exit(3) would wait for a thread that still waits for the reader of the log.
    const { loadNative } = await import('../netlink/native.ts');
    process.once('exit', () => loadNative().endProcess(status));
    return status;
  }
  if (name === undefined) {
    const { runWeft } = await import('../cli/app.ts');
    return await runWeft(args, ambient);
  }
  const plugin = await loadPlugin(name);
  const { status, stdout, stderr } = await runPlugin(plugin, await afterAgent(plugin, ambient));
  writeAll(2, stderr);
  writeAll(1, stdout);
  return status;
}

const [, , calledAs = 'weft', file = 'weft', ...args] = process.argv;
main(calledAs, file, args).then(
  (status) => process.exit(status),
  (error: unknown) => {
    const { message, stack } = error instanceof Error ? error : new Error(String(error));
    tryWriteAll(2, `weft: ${process.env.WEFT_DEBUG ? stack : message}\n`);
    process.exit(1);
  },
);
