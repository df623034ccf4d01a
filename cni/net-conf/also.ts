import type { Validate } from '../config.ts';
import { validate } from './validate.generated.ts';

/** A plugin's own validator, and that of what every network configuration has. */
export function alsoNetConf(own: Validate): Validate {
  const both: Validate = (data) => {
    const good = [validate(data), own(data)].every(Boolean);
    both.errors = good ? null : [...(validate.errors ?? []), ...(own.errors ?? [])];
    return good;
  };
  return both;
}
