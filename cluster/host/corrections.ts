/** Which changes put right what somebody else did, and how they are told. Pure. */
import { type Change, difference } from './difference.ts';
import { type HostState, wordsOf } from './state.ts';

/** What a change would be known by had nothing been touched: the same thing, made the same. */
function identity(change: Change): string {
  return JSON.stringify('entry' in change ? [change.kind, change.entry] : change);
}

/**
 * Of the changes that make `wanted` of what was found, those that would not be needed if the kernel still were as we left it (`left`).
 * What is on a device goes with it, and is not told one by one.
 */
export function correctionsIn(
  changes: readonly Change[],
  wanted: HostState,
  left: HostState | undefined,
): Change[] {
  if (left === undefined || changes.length === 0) return [];
  const expected = new Set(difference(wanted, left).map(identity));
  const unexpected = changes.filter((change) => !expected.has(identity(change)));
  const made = unexpected.flatMap((change) => (change.kind === 'make-device' ? [change.device.name] : []));
  return unexpected.filter((change) => {
    if ('entry' in change) return !made.includes(change.entry.dev ?? '');
    return change.kind !== 'remove-device' || made.length === 0;
  });
}

export function wordsOfChange(change: Change): string {
  switch (change.kind) {
    case 'make-bridge':
      return `bridge ${change.bridge.name}`;
    case 'make-device':
    case 'remove-device':
      return `VXLAN device ${change.device.name}`;
    case 'set-device':
      return `settings of VXLAN device ${change.device.name}`;
    case 'remove':
      return `stray ${wordsOf(change.entry)}`;
    default:
      return wordsOf(change.entry);
  }
}
