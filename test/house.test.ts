/** Holds the tree to the house's plan: which folder may import which, no cycles, no oversized files. */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import t from 'tap';

const root = path.resolve(import.meta.dirname, '..');

/** Each folder with those it may import besides itself, and why the list ends there. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  // The kernel's door knows nothing of containers.
  netlink: [],
  // The specification is plain data and text; it runs in memory in a test.
  cni: [],
  // Leases are files; IPAM must work where no netlink is.
  ipam: ['cni'],
  firewall: ['netlink', 'cni'],
  plan: ['netlink', 'firewall', 'cni'],
  // Between hosts: who they are, and what of it belongs into this host's kernel.
  cluster: ['cni', 'netlink', 'plan', 'ipam'],
  plugins: ['cni', 'plan', 'ipam', 'firewall', 'netlink', 'cluster'],
  runtime: ['cni', 'netlink', 'plan', 'plugins', 'ipam'],
  agent: ['cni', 'netlink', 'plan', 'plugins', 'ipam', 'firewall', 'runtime', 'cluster'],
  // Reads what this host's kernel says and explains it; changes nothing but what a probe needs.
  inspect: ['cni', 'netlink', 'plan', 'plugins', 'ipam', 'firewall', 'runtime', 'cluster'],
  cli: ['cni', 'netlink', 'plan', 'plugins', 'ipam', 'firewall', 'runtime', 'agent', 'cluster', 'inspect'],
  bin: ['netlink', 'cni', 'plugins', 'runtime', 'cli'],
};

const IMPORT =
  /(?:^|\n)\s*(?:import|export)\b[^;'"]*?from\s*['"](\.[^'"]+)['"]|\bimport\(\s*['"](\.[^'"]+)['"]\s*\)/g;

function sources(folder: string): string[] {
  return readdirSync(path.join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const name = path.join(folder, entry.name);
    if (entry.isDirectory()) return sources(name);
    return /\.ts$/.test(entry.name) ? [name] : [];
  });
}

function importsOf(file: string): { target: string; typeOnly: boolean }[] {
  const text = readFileSync(path.join(root, file), 'utf8');
  return [...text.matchAll(IMPORT)].map((match) => ({
    target: path.normalize(path.join(path.dirname(file), match[1] ?? match[2] ?? '')),
    typeOnly: /^\s*(import|export)\s+type\b/.test(match[0].trimStart()),
  }));
}

const files = Object.keys(MAY_IMPORT).flatMap(sources);
const folderOf = (file: string) => file.split(path.sep)[0] ?? '';

t.test('imports run one way', async (t) => {
  const wrong = files.flatMap((file) =>
    importsOf(file)
      .map(({ target }) => ({ file, target, to: folderOf(target) }))
      .filter(({ to }) => to !== folderOf(file) && !MAY_IMPORT[folderOf(file)]?.includes(to))
      .map(({ file, target }) => `${file} imports ${target}`),
  );
  t.same(wrong, []);
});

t.test('no cycle among modules', async (t) => {
  const graph = new Map(
    files.map((file) => [
      file,
      importsOf(file)
        .filter((i) => !i.typeOnly)
        .map((i) => i.target),
    ]),
  );
  const done = new Set<string>();
  const cycles: string[] = [];
  const visit = (file: string, trail: readonly string[]): void => {
    const seen = trail.indexOf(file);
    if (seen >= 0) {
      cycles.push([...trail.slice(seen), file].join(' -> '));
      return;
    }
    if (done.has(file)) return;
    for (const target of graph.get(file) ?? []) visit(target, [...trail, file]);
    done.add(file);
  };
  for (const file of files) visit(file, []);
  t.same(cycles, []);
});

t.test('a file stays one concept: at most 400 lines', async (t) => {
  const long = files
    .filter((file) => !file.endsWith('validate.generated.ts'))
    .map((file) => ({ file, lines: readFileSync(path.join(root, file), 'utf8').split('\n').length - 1 }))
    .filter(({ lines }) => lines > 400);
  t.same(long, []);
});

t.test('no default exports, no process.* below the entry files', async (t) => {
  const wrong = files
    .filter((file) => !file.startsWith('bin') && !file.endsWith('validate.generated.ts'))
    .filter((file) => {
      const code = readFileSync(path.join(root, file), 'utf8').replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, '');
      return /^export default\b/m.test(code) || /\bprocess\.(env|argv|exit|stdin|stdout|cwd)\b/.test(code);
    });
  t.same(wrong, []);
});
