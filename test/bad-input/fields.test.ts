/** Every field of every plugin's schema with a value of another type: named, with what was found and what is allowed. */
import t from 'tap';
import { dhcpSchema } from '../../ipam/dhcp/config.ts';
import { hostLocalSchema } from '../../ipam/host-local/config.ts';
import { staticSchema } from '../../ipam/static/config.ts';
import { bridge } from '../../plugins/bridge/bridge.ts';
import { schema as loopbackSchema } from '../../plugins/loopback/schema.ts';
import { ptp } from '../../plugins/ptp/ptp.ts';
import { routed } from '../../plugins/routed/routed.ts';
import { vxlan } from '../../plugins/vxlan/vxlan.ts';
import { GOOD } from './configurations.ts';
import { inMemory } from './in-memory.ts';
import { type Row, refuseAll, refusePlain } from './table.ts';

interface Schema {
  type?: string;
  properties?: Record<string, Schema>;
  items?: Schema;
}

const SCHEMAS: Readonly<Record<string, object>> = {
  bridge: bridge.config.schema,
  ptp: ptp.config.schema,
  vxlan: vxlan.config.schema,
  routed: routed.config.schema,
  loopback: loopbackSchema,
  'host-local': hostLocalSchema.schema,
  static: staticSchema.schema,
  dhcp: dhcpSchema.schema,
};

/** These decide before the schema is asked; protocol.test.ts has them. */
const OWN_RULES = new Set(['cniVersion', 'name', 'type', 'prevResult']);

type Path = readonly (string | number)[];

/** Every declared field; the first item stands for all items of a list. */
function fieldsOf(schema: Schema, at: Path = []): { path: Path; type: string }[] {
  const below = [
    ...Object.entries(schema.properties ?? {}).flatMap(([key, property]) => fieldsOf(property, [...at, key])),
    ...(schema.items ? fieldsOf(schema.items, [...at, 0]) : []),
  ];
  const own = at.length > 0 && schema.type !== undefined ? [{ path: at, type: schema.type }] : [];
  return [...own, ...below].filter(({ path }) => !OWN_RULES.has(String(path[0])));
}

/** A configuration that has one field only, with this value, in the place of whatever the good one has there. */
function withField(good: object, path: Path, value: unknown): object {
  const [first, ...rest] = path;
  const build = (keys: Path, found: unknown): unknown => {
    const [key, ...more] = keys;
    if (key === undefined) return value;
    if (typeof key === 'number') return [build(more, Array.isArray(found) ? found[key] : undefined)];
    const kept = typeof found === 'object' && found !== null ? (found as Record<string, unknown>) : {};
    return { ...kept, [key]: build(more, kept[key]) };
  };
  const key = String(first);
  return { ...good, [key]: build(rest, (good as Record<string, unknown>)[key]) };
}

const name = (path: Path) =>
  path
    .map((key) => (typeof key === 'number' ? `[${key}]` : `.${key}`))
    .join('')
    .slice(1);

/** One field with a value of another type, and what has to be said about it. */
function rowOf(plugin: string, { path, type }: { path: Path; type: string }): Row {
  const value = type === 'string' ? 7 : type === 'object' || type === 'array' ? 'seven' : ['seven'];
  const found = `${name(path)}: found ${JSON.stringify(value)}, wanted `;
  return {
    name: `${name(path)} (${type}) as ${JSON.stringify(value)}`,
    plugin,
    input: withField(GOOD[plugin] ?? {}, path, value),
    code: 7,
    says: new RegExp(found.replace(/[.[\]]/g, '\\$&')),
  };
}

const rows = Object.entries(SCHEMAS).map(([plugin, schema]) =>
  fieldsOf(schema as Schema).map((field) => rowOf(plugin, field)),
);

t.test('every field', (t) => refusePlain(t, inMemory(t), rows.flat()));

// What the build makes of the schemas.
t.test('some of each executable', (t) =>
  refuseAll(
    t,
    rows.flatMap((all) => all.filter((_, i) => i % 8 === 0)),
  ),
);
