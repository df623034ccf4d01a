/** What the monitor of a container runs when nobody stood by its end (`weft __ended ID`). */
import { clean, remove } from '../../runtime/container/lifecycle.ts';
import { findContainer, stateOf } from '../../runtime/container/store.ts';
import type { WeftContext } from '../context.ts';
import { makerFrom } from './maker.ts';

/** Returns the exit status. */
export async function ended(context: WeftContext, [id = '']: readonly string[]): Promise<number> {
  const maker = makerFrom(context);
  const container = findContainer(context.ambient, id);
  const { spec } = container;
  // Whose command never began has nothing to tell: its maker was killed.
  if (spec.remove || !stateOf(container).started) {
    await remove(maker, spec.id);
    return 0;
  }
  const errors = await clean(maker, spec.id);
  return errors.length === 0 ? 0 : 1;
}
