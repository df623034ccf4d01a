/** Who makes containers when a person types a command. */
import { join } from 'node:path';
import type { Maker } from '../../runtime/container/lifecycle.ts';
import type { WeftContext } from '../context.ts';
import { pluginPath } from '../path.ts';

export function makerFrom(context: WeftContext): Maker {
  const { ambient, home } = context;
  return {
    ambient,
    path: pluginPath(context, undefined),
    monitor: join(home, 'weft-monitor'),
    weft: join(home, 'weft'),
  };
}
