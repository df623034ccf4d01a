/**
 * Plugins of this weft are run in this process, which has their code already: a start of Node for each ADD and DEL would be most of what
 * `weft run` takes. Where an agent serves this host, it does it faster still.
 */
import { existsSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { Ambient } from '../../cni/ambient.ts';
import { runPlugin } from '../../cni/skel.ts';
import { isPluginName, loadPlugin } from '../../plugins/registry.ts';

/** @param home the folder of the executables that belong to this weft */
export function withOwnPlugins(ambient: Ambient, home: string): Ambient {
  const isServed = () =>
    ambient.env.WEFT_AGENT !== 'off' && existsSync(join(ambient.paths.runDir, 'agent.sock'));
  return {
    ...ambient,
    run: async (file, args, options = {}) => {
      const name = basename(file);
      const { env, input = '' } = options;
      if (dirname(file) !== home || !isPluginName(name) || env?.CNI_COMMAND === undefined || isServed())
        return await ambient.run(file, args, options);
      const plugin = await loadPlugin(name);
      return await runPlugin(plugin, { ...ambient, env, input: async () => input });
    },
  };
}
