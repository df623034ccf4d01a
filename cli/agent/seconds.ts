import { UsageError } from '../context.ts';

/** Seconds, also parts of one. Throws UsageError. */
export function parseSeconds(text: string): number {
  if (/^\d{1,7}(?:\.\d{1,3})?$/.test(text)) return Number(text);
  throw new UsageError('wanted a number of seconds, such as 600');
}
