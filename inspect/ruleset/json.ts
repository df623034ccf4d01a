/** What a program printed as JSON, looked into without trust. */

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** A member of an object; undefined where it has none, or is no object. */
export function member(json: Json | undefined, key: string): Json | undefined {
  return isObject(json) && Object.hasOwn(json, key) ? json[key] : undefined;
}

export function isObject(json: Json | undefined): json is { readonly [key: string]: Json } {
  return typeof json === 'object' && json !== null && !Array.isArray(json);
}

/** The one member of an object such as `{ "accept": null }`; the first where there are more. */
export function sole(json: Json | undefined): [string, Json] | undefined {
  return isObject(json) ? Object.entries(json)[0] : undefined;
}

export function list(json: Json | undefined): readonly Json[] {
  return Array.isArray(json) ? json : [];
}

export function text(json: Json | undefined): string | undefined {
  return typeof json === 'string' ? json : undefined;
}

export function number(json: Json | undefined): number | undefined {
  return typeof json === 'number' ? json : undefined;
}
