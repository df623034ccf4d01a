import { CniError, ErrorCode } from './errors.ts';

type Json = Readonly<Record<string, unknown>>;

/** Deeper than any configuration; protects every recursive walk that comes after. */
const MAX_DEPTH = 64;

/**
 * Brings a decoded JSON value to the spelling of a schema: keys are matched without regard to case (as Go's decoder does:
 * containerd sends `HostPort`), `null` counts as absent, a `__proto__` key is dropped. Unknown keys are kept as they are.
 * Returns a copy; throws CniError(decoding) when the value is nested deeper than 64 levels.
 */
export function fold(schema: object, value: unknown): unknown {
  return foldValue(subschema(schema), value, 0);
}

/** `schemas`: every schema that may apply here (the branches of a union). */
function foldValue(schemas: readonly Json[], value: unknown, depth: number): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (depth > MAX_DEPTH) {
    throw new CniError(
      ErrorCode.decoding,
      `the configuration is nested deeper than ${MAX_DEPTH} levels: wanted a network configuration`,
    );
  }
  if (Array.isArray(value)) {
    const items = schemas.flatMap((schema) => subschema(schema.items));
    return value.map((item) => foldValue(items, item, depth + 1));
  }
  return foldObject(schemas, value as Json, depth);
}

function foldObject(schemas: readonly Json[], value: Json, depth: number): Json {
  const declared = new Map<string, string>();
  for (const schema of schemas) {
    for (const key of Object.keys((schema.properties as Json | undefined) ?? {})) {
      declared.set(key.toLowerCase(), key);
    }
  }
  const out: Record<string, unknown> = {};
  const exact = new Set<string>();
  for (const [key, item] of Object.entries(value)) {
    if (item === null || key === '__proto__') continue;
    const name = declared.get(key.toLowerCase()) ?? key;
    // Of two spellings of one key the declared one counts, else the last.
    if (exact.has(name)) continue;
    if (key === name) exact.add(name);
    const below = schemas.flatMap((schema) => propertySchema(schema, name));
    out[name] = foldValue(below, item, depth + 1);
  }
  return out;
}

function propertySchema(schema: Json, name: string): Json[] {
  const properties = schema.properties as Json | undefined;
  if (properties !== undefined && Object.hasOwn(properties, name)) return subschema(properties[name]);
  return subschema(schema.additionalProperties);
}

/** A schema with the branches of its unions beside it. */
function subschema(schema: unknown): Json[] {
  if (typeof schema !== 'object' || schema === null || Array.isArray(schema)) return [];
  const { anyOf, oneOf, allOf } = schema as Json;
  const branches = [anyOf, oneOf, allOf].flatMap((list) => (Array.isArray(list) ? list : []));
  return [schema as Json, ...branches.flatMap(subschema)];
}
