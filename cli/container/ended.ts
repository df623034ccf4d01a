/** What the monitor of a container runs when nobody stood by its end (`weft __ended ID`). */
import { clean, remove } from '../../runtime/container/lifecycle.ts';
import { findContainer } from '../../runtime/container/store.ts';
import type { WeftContext } from '../context.ts';
import { makerFrom } from './maker.ts';

/** Returns the exit status. */
export async function ended(context: WeftContext, [id = '']: readonly string[]): Promise<number> {
  const maker = makerFrom(context);
  const { spec } = findContainer(context.ambient, id);
  if (spec.remove) {
    await remove(maker, spec.id);
    return 0;
  }
  const errors = await clean(maker, spec.id);
  return errors.length === 0 ? 0 : 1;
}
