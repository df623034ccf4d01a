/** By which addresses other hosts reach this one. */
import type { Parts } from './parts.ts';

/**
 * Throws an Error that says what to do where there is none.
 * @param asked addresses or links that an administrator named
 * @param known those of before: a link that is down for a moment is no reason to leave
 */
export async function ownAddresses(
  parts: Parts,
  asked: readonly string[],
  known: readonly string[],
): Promise<readonly string[]> {
  const found = await parts.addresses(asked);
  if (found.length > 0) return found;
  if (known.length > 0) return known;
  throw new Error('this host has no address that others could reach it by: say which with --address');
}
