/** What the documents say of the tree: every link leads somewhere, and the plan that is shown is the one that is made. No root. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import t from 'tap';
import { weft } from './cli/weft.ts';
import { makeGround } from './runtime/fake-plugins.ts';

const ROOT = join(import.meta.dirname, '..');
const PAGES = ['.', 'docs', 'docs/decisions', ...folders('plugins'), ...folders('ipam')].flatMap((folder) =>
  readdirSync(join(ROOT, folder))
    .filter((name) => name.endsWith('.md'))
    .map((name) => join(ROOT, folder, name)),
);

function folders(parent: string): string[] {
  return readdirSync(join(ROOT, parent), { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => join(parent, entry.name));
}

t.test('every link leads to a file', async (t) => {
  const broken = PAGES.flatMap((page) =>
    [...readFileSync(page, 'utf8').matchAll(/\]\(([^)#\s]+)(?:#[^)]*)?\)/g)]
      .map(([, target = '']) => target)
      .filter((target) => !/^\w+:/.test(target) && !existsSync(join(dirname(page), target)))
      .map((target) => `${relative(ROOT, page)}: ${target}`),
  );
  t.same(broken, []);
});

t.test('the sample of weft plan is what weft plan prints', async (t) => {
  const page = readFileSync(join(ROOT, 'docs/configure.md'), 'utf8');
  const [, sample = ''] = /\$ weft plan examples\/bridge\.conflist\n([\s\S]*?)```/.exec(page) ?? [];
  const { ambient } = makeGround(t);
  const { out } = await weft(
    { ...ambient, hostId: () => 'docs' },
    'plan',
    join(ROOT, 'examples/bridge.conflist'),
  );
  // The bridge's MAC is made of the host's identity.
  const printed = new Set(out.split('\n').map((line) => line.replace(/(link add weft0 address) \S+/, '$1')));
  const shown = sample.split('\n').map((line) => line.replace(/(link add weft0 address) \S+/, '$1'));
  t.same(
    shown.filter((line) => !line.startsWith('... ') && !printed.has(line)),
    [],
  );
});
