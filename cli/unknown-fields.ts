/**
 * Fields of a configuration that none of weft's plugins knows: most are misspelt, and a misspelt field does nothing and says nothing. People
 * are warned; runtimes are not, since plugins may have fields of their own (SPEC 1.1, section 1).
 */
import { isPluginName, loadPlugin } from '../plugins/registry.ts';
import type { NetworkList, PluginConf } from '../runtime/conflist.ts';

type Json = Readonly<Record<string, unknown>>;

/** What a list has besides its plugins; `args` is the older convention's. */
const LIST_FIELDS = {
  properties: {
    ...{ cniVersion: {}, cniVersions: {}, name: {}, plugins: {}, args: {} },
    ...{ disableCheck: {}, disableGC: {}, loadOnlyInlinedPlugins: {} },
  },
};
/** Given by others than the person who wrote the file. */
const NOT_LOOKED_AT = ['args', 'capabilities', 'runtimeConfig', 'prevResult'];

/** One line for each field, with the field that may be meant: `plugins[0].isGatway: bridge has no such field: did you mean isGateway?` */
export async function unknownFields(list: NetworkList): Promise<string[]> {
  const lines: string[] = [];
  const json = JSON.parse(list.json) as Json;
  if ('plugins' in json) lines.push(...unknownIn(LIST_FIELDS, { ...json, plugins: undefined }, '', 'a list'));
  for (const [i, plugin] of list.plugins.entries()) {
    lines.push(...(await unknownInPlugin(plugin, `plugins[${i}].`)));
  }
  return lines;
}

async function unknownInPlugin(plugin: PluginConf, at: string): Promise<string[]> {
  const { type } = plugin;
  // Of one that is not ours nobody here knows the fields.
  if (!isPluginName(type)) return [];
  const schema = await schemaOf(type);
  const ipam = plugin.ipam as { type?: unknown } | undefined;
  const own = { ...plugin, cniVersions: undefined, ipam: undefined };
  const lines = unknownIn(schema, own, at, type);
  if (typeof ipam !== 'object' || ipam === null || typeof ipam.type !== 'string') return lines;
  const below = await ipamSchema(ipam.type);
  return below === undefined ? lines : [...lines, ...unknownIn(below, ipam, `${at}ipam.`, ipam.type)];
}

const nothing = async (): Promise<never> => {
  throw new Error('nothing is opened to look at a schema');
};

async function schemaOf(type: Parameters<typeof loadPlugin>[0]): Promise<Json> {
  return (await loadPlugin(type, { door: { open: nothing } })).config.schema as Json;
}

async function ipamSchema(type: string): Promise<Json | undefined> {
  const whole =
    type === 'cluster'
      ? ((await import('../ipam/cluster/schema.ts')).schema as Json)
      : type === 'host-local' || type === 'static' || type === 'dhcp'
        ? await schemaOf(type)
        : undefined;
  return (whole?.properties as Json | undefined)?.ipam as Json | undefined;
}

/** `whose` is what has the fields. Fields of objects in between are looked at where their schema names any. */
function unknownIn(schema: Json, value: object, at: string, whose: string): string[] {
  const properties = schema.properties as Readonly<Record<string, Json>> | undefined;
  if (properties === undefined) return [];
  const known = new Map(Object.keys(properties).map((name) => [name.toLowerCase(), name]));
  return Object.entries(value).flatMap(([key, item]) => {
    if (item === undefined || NOT_LOOKED_AT.includes(key) || key.startsWith('cni.dev/')) return [];
    // As the plugins do, and Go's: without regard to case.
    const name = known.get(key.toLowerCase());
    if (name === undefined)
      return [`${at}${key}: ${whose} has no such field${proposal(key, [...known.values()])}`];
    return below(properties[name] ?? {}, item, `${at}${key}`, whose);
  });
}

function below(schema: Json, value: unknown, at: string, whose: string): string[] {
  if (Array.isArray(value)) {
    const items = schema.items as Json | undefined;
    return items === undefined ? [] : value.flatMap((item, i) => below(items, item, `${at}[${i}]`, whose));
  }
  return typeof value === 'object' && value !== null ? unknownIn(schema, value, `${at}.`, whose) : [];
}

function proposal(key: string, known: readonly string[]): string {
  const near = known
    .map((name) => [distance(key.toLowerCase(), name.toLowerCase()), name] as const)
    .filter(([far, name]) => far <= Math.max(1, Math.floor(name.length / 4)))
    .sort(([a], [b]) => a - b);
  return near[0] === undefined ? '' : `: did you mean ${near[0][1]}?`;
}

/** How many letters were left out, added or changed (Levenshtein). */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const changed = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(changed, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
