import type { JSONSchema } from 'json-schema-to-ts';
import { netConfBase, netConfRequired } from '../schema.ts';

/** What is the same in every network configuration: checked by one validator for all plugins. */
export const schema = {
  type: 'object',
  required: [...netConfRequired],
  properties: netConfBase,
} as const satisfies JSONSchema;
