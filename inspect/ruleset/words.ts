/** The model in words. */
import type { Value } from './model.ts';

/** For messages: `10.88.0.5 . 80`. */
export function valueWords(value: Value): string {
  if ('prefix' in value) return value.prefix;
  if ('text' in value) return value.text;
  if ('parts' in value) return value.parts.map(valueWords).join(' . ');
  if ('fromAddress' in value) return `${value.fromAddress}-${value.toAddress}`;
  return value.from === value.to ? String(value.from) : `${value.from}-${value.to}`;
}
