/**
 * SIGKILL at every single step of ADD, DEL, GC and the making of the index: no lease is half-written, handed out twice or lost,
 * the next operations work, and nothing stays.
 */
import { cpSync, mkdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import t from 'tap';
import { isCanonical } from '../../cni/prefix.ts';
import { hostLocal } from '../../ipam/host-local/host-local.ts';
import { parseLease } from '../../ipam/leases.ts';
import { HALVES } from './halves.ts';
import { bundleChild, runLines } from './process.ts';
import { conf, leaseFiles, request, type World, world, worldAt } from './support.ts';

const config = conf({ ranges: [[{ subnet: '10.0.0.0/16' }], [{ subnet: 'fd00:1::/64' }]] });
const bare = (address: string) => address.split('/')[0] ?? '';
const add = async (w: World, who: string) =>
  (await hostLocal.add(request(w, config, who))).ips.map((ip) => bare(ip.address));
const del = (w: World, who: string) => hostLocal.del(request(w, config, who));

/** What was there before, and the command in whose middle the process ends. */
const scenarios: [what: string, before: (w: World) => Promise<void>, command: string][] = [
  ['the first ADD of a network', async () => {}, 'add victim'],
  [
    'ADD',
    async (w) => {
      await add(w, 'bystander');
    },
    'add victim',
  ],
  [
    'ADD after another program changed the folder',
    async (w) => {
      await add(w, 'bystander');
      writeFileSync(path.join(w.leases, '10.0.0.3'), '');
      utimesSync(w.leases, 1, 1);
    },
    'add victim',
  ],
  [
    'a second ADD',
    async (w) => {
      await add(w, 'bystander');
      await add(w, 'victim');
    },
    'add victim',
  ],
  [
    'DEL',
    async (w) => {
      await add(w, 'bystander');
      await add(w, 'victim');
    },
    'del victim',
  ],
  [
    'GC',
    async (w) => {
      for (const who of ['bystander', 'victim', 'stale']) await add(w, who);
    },
    'gc bystander,victim',
  ],
  [
    'GC that finds nothing',
    async (w) => {
      for (const who of ['bystander', 'victim']) await add(w, who);
    },
    'gc bystander,victim',
  ],
];

type Asserts = Pick<typeof t, 'match' | 'notOk' | 'equal' | 'same'>;

/** What must hold after a process was killed in the folder. */
async function recovers(t: Asserts, w: World, hadBystander: boolean): Promise<void> {
  for (const name of leaseFiles(w).filter(isCanonical)) {
    const text = readFileSync(path.join(w.leases, name), 'utf8');
    if (text === '' && name === '10.0.0.3') continue;
    t.match(parseLease(text), { ifname: 'eth0' }, `${name} is whole`);
  }
  const before = leaseFiles(w).filter((name) => isCanonical(name) && name !== '10.0.0.3');
  const others = await add(w, 'newcomer');
  t.notOk(
    others.some((address) => before.includes(address)),
    'a newcomer gets what nobody has',
  );
  const again = await add(w, 'victim');
  t.equal(new Set([...others, ...again]).size, 4, 'ADD again works');
  t.same((await del(w, 'victim')).sort(), again.sort(), 'DEL releases exactly that');
  t.same((await del(w, 'victim')).length, 0);
  t.same((await del(w, 'newcomer')).length, 2);
  if (hadBystander)
    t.same(await del(w, 'bystander'), ['10.0.0.2', 'fd00:1::2'], 'the bystander kept its own');
  await del(w, 'stale');
  t.same(leaseFiles(w), [], 'nothing stays');
}

// Some two hundred processes: fast alone, slow beside others.
t.setTimeout(400_000);

const shared = world(t);
const child = await bundleChild(shared.dir);

for (const [what, before, command] of scenarios) {
  t.test(what, async (t) => {
    const original = worldAt(path.join(shared.dir, what.replaceAll(' ', '-')));
    mkdirSync(original.leases, { recursive: true });
    await before(original);
    const hadBystander = leaseFiles(original).length > 0;
    /** Runs the command in a copy of the world. The index is of the original's inode: made again by one ADD and DEL. */
    const run = async (name: string, ...args: string[]) => {
      const w = worldAt(`${original.dir}-${name}`);
      cpSync(original.dir, w.dir, { recursive: true });
      if (!what.includes('changed') && hadBystander) {
        await add(w, 'warm-up');
        await del(w, 'warm-up');
      }
      const ended = await runLines([process.execPath, child, w.dir, ...args], [command]);
      return { w, ended };
    };
    const whole = await run('whole');
    t.equal(whole.ended.status, 0, whole.ended.stderr);
    const { calls } = whole.ended.answers.at(-1) as { calls: string[] };
    t.ok(calls.length > 5, calls.join(' '));
    await recovers(t, whole.w, hadBystander);
    const runs = calls.flatMap((name, step) => {
      const at = ['--kill-at', String(step)];
      return [at, ...(HALVES[name] ?? []).map((_, number) => [...at, '--torn', String(number)])];
    });
    const next = async (): Promise<void> => {
      for (let args = runs.pop(); args !== undefined; args = runs.pop()) {
        const { w, ended } = await run(args.join(''), ...args);
        t.equal(ended.signal, 'SIGKILL', `step ${args.slice(1).join(' ')}`);
        await recovers(t, w, hadBystander);
      }
    };
    await Promise.all([next(), next(), next()]);
  });
}

t.test('SIGKILL at any moment, many times, with others at work', async (t) => {
  const w = worldAt(path.join(shared.dir, 'storm'));
  const rounds = 18;
  const worker = async (round: number) => {
    const names = Array.from({ length: 40 }, (_, n) => `r${round}-${n}`);
    const lines = names.flatMap((name, n) => [`add ${name}`, ...(n % 2 === 0 ? [`del ${name}`] : [])]);
    return runLines([process.execPath, child, w.dir], lines, round * 2 + 1);
  };
  for (let round = 0; round < rounds; round += 3) {
    await Promise.all([worker(round), worker(round + 1), worker(round + 2)]);
  }
  const seen = new Map<string, string>();
  for (const name of leaseFiles(w).filter(isCanonical)) {
    const holder = parseLease(readFileSync(path.join(w.leases, name), 'utf8'));
    t.match(holder, { ifname: 'eth0' });
    const key = `${holder?.containerId} ${name.includes(':')}`;
    t.equal(seen.get(key), undefined, 'one address of a family for each');
    seen.set(key, name);
  }
  await hostLocal.gc(request(w, config), []);
  t.same(leaseFiles(w), []);
});
