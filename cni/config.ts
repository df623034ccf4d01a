import type { FromSchema, JSONSchema } from 'json-schema-to-ts';
import type { ConfigFault, ConfigSchema } from './plugin.ts';

/** One complaint of a generated validator, in ajv's form. */
export interface SchemaError {
  /** JSON pointer into the data. */
  instancePath: string;
  /** JSON pointer into the schema, URI-encoded, starting with `#`. */
  schemaPath: string;
  keyword: string;
  params: Readonly<Record<string, unknown>>;
}

/** What scripts/generate-validators.ts writes: answers whether the data holds, and leaves the complaints in `errors`. */
export interface Validate {
  (data: unknown): boolean;
  errors?: readonly SchemaError[] | null;
}

type Loose = Readonly<Record<string, unknown>>;

/** Enough to mend a configuration; the rest is counted, not listed. */
const MAX_FAULTS_SHOWN = 8;
/** What is beyond is not looked at: nobody reads it, and a hostile input could make it cost seconds. */
const MAX_FAULTS_FOUND = 200;
const MAX_FOUND_LENGTH = 60;

/**
 * Joins a schema with its generated validator; `C` follows from the schema. Unknown keys are allowed (SPEC 1.1,
 * section 1: plugins may define additional fields).
 */
export function configSchema<const S extends JSONSchema>(
  schema: S,
  validate: Validate,
): ConfigSchema<FromSchema<S>> {
  return {
    schema: schema as object,
    faults: (input) => (validate(input) ? [] : translate(schema as object, input, validate.errors ?? [])),
  };
}

/** The faults as one sentence part each: `mtu: found "abc", wanted an integer from 68 to 65535`. */
export function describeFaults(faults: readonly ConfigFault[]): string {
  const lines = faults.slice(0, MAX_FAULTS_SHOWN).map((fault) => {
    const found = fault.found === undefined ? 'missing' : `found ${showValue(fault.found)}`;
    return `${fault.field}: ${found}, wanted ${fault.wanted}`;
  });
  const more = faults.length - lines.length;
  return lines.join('; ') + (more > 0 ? `; and ${more < 100 ? more : 'many'} more` : '');
}

/** A value as an error message shows it: JSON, cut. */
export function showValue(value: unknown): string {
  if (Array.isArray(value) && value.length > 8) return `a list of ${value.length}`;
  let text: string;
  try {
    text = JSON.stringify(value) ?? String(value);
  } catch {
    text = `a ${typeof value}`;
  }
  return text.length > MAX_FOUND_LENGTH ? `${text.slice(0, MAX_FOUND_LENGTH)}...` : text;
}

/**
 * The configuration with everything at fault left out, as if it had not been given: what DEL and GC work with, which
 * must not fail because an option is odd. Each fault that was left out is told to `onFault`. What the schema requires
 * at the top and is missing stays missing.
 */
export function withoutFaults<C>(
  schema: ConfigSchema<C>,
  config: Record<string, unknown>,
  onFault: (fault: ConfigFault) => void,
): Record<string, unknown> {
  let current = config;
  // Leaving one thing out can make its parent incomplete, which is then left out in the next round; after some rounds
  // the whole top-level key goes, so that this ends.
  for (let round = 0; ; round++) {
    const faults = schema.faults(current).filter(isRemovable);
    if (faults.length === 0) return current;
    const copy = structuredClone(current);
    for (const fault of faults) {
      remove(copy, round < 4 ? fault : { ...fault, path: fault.path.slice(0, 1), found: true });
      // What is missing since the first round we left out ourselves.
      if (round === 0 || fault.found !== undefined) onFault(fault);
    }
    current = compact(copy) as Record<string, unknown>;
  }
}

function isRemovable({ found, path }: ConfigFault): boolean {
  return path.length > (found === undefined ? 1 : 0);
}

function remove(config: Record<string, unknown>, { found, path }: ConfigFault): void {
  // A required key that is missing makes its parent useless.
  const keys = found === undefined ? path.slice(0, -1) : path;
  const last = keys.at(-1);
  const parent = valueAt(config, keys.slice(0, -1));
  if (last === undefined || typeof parent !== 'object' || parent === null) return;
  // A hole keeps the indexes of the other faults right; `compact` closes it.
  (parent as Record<string | number, unknown>)[last] = undefined;
}

function compact(value: unknown): unknown {
  if (Array.isArray(value)) return value.filter((item) => item !== undefined).map(compact);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, item]) => (item === undefined ? [] : [[key, compact(item)]])),
  );
}

/** `ipam.ranges[0].subnet` from the keys. */
function fieldName(keys: readonly (string | number)[]): string {
  const text = keys.map((key) => (typeof key === 'number' ? `[${key}]` : `.${key}`)).join('');
  return text.startsWith('.') ? text.slice(1) : text || 'configuration';
}

function translate(schema: object, input: unknown, errors: readonly SchemaError[]): ConfigFault[] {
  const byField = new Map<string, ConfigFault>();
  for (const error of settleUnions(errors.slice(0, MAX_FAULTS_FOUND))) {
    const fault = toFault(schema, input, error);
    if (fault !== undefined && !byField.has(fault.field)) byField.set(fault.field, fault);
  }
  return [...byField.values()];
}

/**
 * A union that fails complains once for each branch, and once itself. When the data has the type of exactly one branch,
 * that branch's complaints are what helps; otherwise the union's own.
 */
function settleUnions(errors: readonly SchemaError[]): SchemaError[] {
  let rest = [...errors];
  const unions = errors
    .filter((error) => error.keyword === 'anyOf' || error.keyword === 'oneOf')
    .sort((a, b) => a.schemaPath.length - b.schemaPath.length);
  for (const union of unions) {
    if (!rest.includes(union)) continue;
    const branchOf = (error: SchemaError) =>
      error !== union &&
      error.schemaPath.startsWith(`${union.schemaPath}/`) &&
      (error.instancePath === union.instancePath || error.instancePath.startsWith(`${union.instancePath}/`))
        ? error.schemaPath.slice(union.schemaPath.length + 1).split('/', 1)[0]
        : undefined;
    const branches = new Map<string, SchemaError[]>();
    for (const error of rest) {
      const branch = branchOf(error);
      if (branch !== undefined) branches.set(branch, [...(branches.get(branch) ?? []), error]);
    }
    const meant = [...branches.values()].filter(
      (branch) => !branch.some((e) => e.instancePath === union.instancePath && isKind(e.keyword)),
    );
    const keep = meant.length === 1 ? new Set(meant[0]) : new Set([union]);
    rest = rest.filter((error) => keep.has(error) || (error !== union && branchOf(error) === undefined));
  }
  return rest;
}

/** Keywords whose failure says that another branch was meant. */
function isKind(keyword: string): boolean {
  return keyword === 'type' || keyword === 'const' || keyword === 'enum' || keyword === 'required';
}

function toFault(schema: object, input: unknown, error: SchemaError): ConfigFault | undefined {
  // `if` only says that `then` or `else` failed, which complain themselves.
  if (error.keyword === 'if') return undefined;
  const keys = dataKeys(input, error.instancePath);
  const parent = schemaAt(schema, error.schemaPath);
  const missing = error.params.missingProperty;
  if (typeof missing === 'string') {
    const properties = parent.properties as Loose | undefined;
    const wanted = describeSchema((properties?.[missing] ?? {}) as Loose);
    const path = [...keys, missing];
    return { field: fieldName(path), found: undefined, wanted, path };
  }
  return { field: fieldName(keys), found: valueAt(input, keys), wanted: describeSchema(parent), path: keys };
}

/** The schema that holds the failing keyword. */
function schemaAt(schema: object, path: string): Loose {
  const keys = path.split('/').slice(1, -1).map(unescapePointer);
  return (valueAt(schema, keys) ?? {}) as Loose;
}

function dataKeys(input: unknown, pointer: string): (string | number)[] {
  let current = input;
  return pointer
    .split('/')
    .slice(1)
    .map((part) => {
      const key = Array.isArray(current) ? Number(part) : part.replaceAll('~1', '/').replaceAll('~0', '~');
      current = valueAt(current, [key]);
      return key;
    });
}

function unescapePointer(part: string): string {
  return decodeURIComponent(part).replaceAll('~1', '/').replaceAll('~0', '~');
}

function valueAt(value: unknown, keys: readonly (string | number)[]): unknown {
  let current = value;
  for (const key of keys) {
    if (typeof current !== 'object' || current === null || !Object.hasOwn(current, key)) return undefined;
    current = (current as Record<string | number, unknown>)[key];
  }
  return current;
}

/** What a schema allows, in words that read after "wanted". `title` says it better where a pattern would not. */
export function describeSchema(schema: Readonly<Record<string, unknown>>): string {
  if (typeof schema.title === 'string') return schema.title;
  if (Array.isArray(schema.enum)) return oneOf(schema.enum.map(showValue));
  if ('const' in schema) return showValue(schema.const);
  const branches = schema.anyOf ?? schema.oneOf;
  if (Array.isArray(branches)) return branches.map((branch) => describeSchema(branch as Loose)).join(', or ');
  const { type } = schema;
  if (Array.isArray(type)) return type.map((one) => describeSchema({ ...schema, type: one })).join(', or ');
  if (type === 'integer' || type === 'number') return describeNumber(schema, type);
  if (type === 'string') return describeString(schema);
  if (type === 'boolean') return 'true or false';
  if (type === 'array') return describeList(schema);
  if (type === 'object') return 'an object';
  return 'another value';
}

function oneOf(values: readonly string[]): string {
  return values.length === 1 ? (values[0] ?? '') : `one of ${values.join(', ')}`;
}

function describeNumber(schema: Loose, type: string): string {
  const noun = type === 'integer' ? 'an integer' : 'a number';
  const { minimum, maximum } = schema;
  if (minimum !== undefined && maximum !== undefined) return `${noun} from ${minimum} to ${maximum}`;
  if (minimum !== undefined) return `${noun} of at least ${minimum}`;
  return maximum === undefined ? noun : `${noun} of at most ${maximum}`;
}

function describeString(schema: Loose): string {
  const { minLength, maxLength, pattern } = schema;
  const noun = minLength === 1 ? 'a non-empty string' : 'a string';
  const longest = maxLength === undefined ? '' : ` of at most ${maxLength} characters`;
  return noun + longest + (pattern === undefined ? '' : ` that matches ${pattern}`);
}

function describeList(schema: Loose): string {
  const { minItems, maxItems, items } = schema;
  const size =
    minItems !== undefined && maxItems !== undefined
      ? ` of ${minItems} to ${maxItems}`
      : minItems !== undefined
        ? ` of at least ${minItems}`
        : maxItems !== undefined
          ? ` of at most ${maxItems}`
          : '';
  const unique = schema.uniqueItems === true ? ', each once' : '';
  const each = typeof items === 'object' && items !== null && !Array.isArray(items) ? (items as Loose) : {};
  return Object.keys(each).length === 0
    ? `a list${size}${unique}`
    : `a list${size} (each ${describeSchema(each)})${unique}`;
}
