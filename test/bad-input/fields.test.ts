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
import { difference, makePlace, problems } from './place.ts';
import { shown } from './table.ts';

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

for (const [plugin, schema] of Object.entries(SCHEMAS)) {
  t.test(plugin, async (t) => {
    const place = await makePlace(t);
    const before = await place.snapshot();
    const good = GOOD[plugin] ?? {};
    for (const { path, type } of fieldsOf(schema as Schema)) {
      const value = type === 'string' ? 7 : type === 'object' || type === 'array' ? 'seven' : ['seven'];
      const input = withField(good, path, value);
      const answer = await place.call({ plugin, input });
      const field = name(path);
      const found = JSON.stringify(value);
      const wrong = [
        ...problems(answer),
        ...(answer.json?.code === 7 ? [] : [`code ${answer.json?.code}`]),
        ...(String(answer.json?.msg).includes(`${field}: found ${found}, wanted `) ? [] : ['msg']),
      ];
      t.same(wrong, [], `${field} (${type}) as ${found}`, { answer: shown(answer) });
      const del = await place.call({ plugin, input, command: 'DEL' });
      t.same(shown(del), { ...shown(del), status: 0, stdout: '' }, `${field}: DEL succeeds`);
    }
    t.same(difference(before, await place.snapshot()), [], 'the host is as it was');
  });
}
