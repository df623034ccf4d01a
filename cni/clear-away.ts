import type { Ambient } from './ambient.ts';
import type { PluginVerbs } from './plugin.ts';
import { type Outcome, type RunPluginOptions, runPlugin } from './skel.ts';

/**
 * Takes away what an ADD of this request made or began to make, by the plugin's DEL. The ADD's previous result is that of the
 * plugins before, whose links are not to be touched, so DEL does not get it: all of our own is found without.
 */
export async function clearAway<C>(
  plugin: PluginVerbs<C>,
  ambient: Ambient,
  options?: RunPluginOptions,
): Promise<Outcome> {
  const env = { ...ambient.env, CNI_COMMAND: 'DEL' };
  const input = async () => withoutPrevious(await ambient.input());
  const outcome = await runPlugin(plugin, { ...ambient, env, input }, options);
  if (outcome.status !== 0) ambient.log(`clearing away what ADD left: ${outcome.stdout.trim()}`);
  return outcome;
}

function withoutPrevious(input: string): string {
  try {
    const config: unknown = JSON.parse(input);
    if (typeof config !== 'object' || config === null) return input;
    return JSON.stringify({ ...config, prevResult: undefined });
  } catch {
    // DEL will say what is wrong with it.
    return input;
  }
}
