/** Change-over in both directions and at the same time: Debian's host-local, as a process, in the same folder. */
import { existsSync } from 'node:fs';
import path from 'node:path';
import t from 'tap';
import { hostLocal } from '../../ipam/host-local/host-local.ts';
import { bundleChild, runLines } from './process.ts';
import {
  conf,
  leaseFiles,
  REFERENCE,
  reference,
  request,
  resultOf,
  SPARE,
  type World,
  world,
} from './support.ts';

if (!existsSync(REFERENCE)) {
  t.bailout(`${REFERENCE} is missing: install containernetworking-plugins`);
}

const config = conf({ ranges: [[{ subnet: '10.0.0.0/16' }], [{ subnet: 'fd00:1::/64' }]] });
const add = async (w: World, who: string) =>
  (await hostLocal.add(request(w, config, who))).ips.map((ip) => ip.address);
const del = (w: World, who: string) => hostLocal.del(request(w, config, who));

t.test('the reference allocates; ours goes on, checks and releases', async (t) => {
  const w = world(t);
  t.same((await reference(w, 'ADD', config, 'a')).ips, ['10.0.0.2/16', 'fd00:1::2/64']);
  t.same(await add(w, 'b'), ['10.0.0.3/16', 'fd00:1::3/64'], 'the round goes on');
  await hostLocal.check(request(w, config, 'a', { prevResult: resultOf(['10.0.0.2/16', 'fd00:1::2/64']) }));
  t.same(await del(w, 'a'), ['10.0.0.2', 'fd00:1::2']);
  t.same(leaseFiles(w), ['10.0.0.3', 'fd00:1::3']);
});

t.test('ours allocates; the reference goes on, checks and releases', async (t) => {
  const w = world(t);
  await add(w, 'a');
  t.same((await reference(w, 'ADD', config, 'b')).ips, ['10.0.0.3/16', 'fd00:1::3/64'], 'the round goes on');
  t.equal((await reference(w, 'CHECK', config, 'a')).status, 0);
  t.match(
    (await reference(w, 'ADD', config, 'a')).stdout,
    /duplicate allocation/,
    'it knows our lease as its own',
  );
  t.equal((await reference(w, 'DEL', config, 'a')).status, 0);
  t.same(leaseFiles(w), ['10.0.0.3', 'fd00:1::3']);
  t.same(await add(w, 'c'), ['10.0.0.4/16', 'fd00:1::4/64'], 'what it did is seen');
});

t.test('taking turns on one attachment', async (t) => {
  const w = world(t);
  for (let turn = 0; turn < 6; turn++) {
    const ours = turn % 2 === 0;
    const got = ours ? await add(w, 'a') : (await reference(w, 'ADD', config, 'a')).ips;
    t.same(got, [`10.0.0.${turn + 2}/16`, `fd00:1::${turn + 2}/64`]);
    if (ours) await reference(w, 'DEL', config, 'a');
    else await del(w, 'a');
    t.same(leaseFiles(w), []);
  }
});

t.test("what is left of a lease that we released is nobody's to them", async (t) => {
  const w = world(t);
  const held = async () => (await reference(w, 'CHECK', { ...config, prevResult: {} }, 'a')).status === 0;
  await add(w, 'a');
  t.ok(await held());
  await del(w, 'a');
  t.ok(existsSync(path.join(w.leases, SPARE)), 'the spare is there');
  t.notOk(await held());
  await reference(w, 'DEL', config, 'a');
  t.same(await add(w, 'b'), ['10.0.0.3/16', 'fd00:1::3/64']);
});

t.test('both at the same time: eight workers, no address twice, nothing left', async (t) => {
  const w = world(t);
  const child = await bundleChild(w.dir);
  const ofWorker = (worker: number) => Array.from({ length: 25 }, (_, n) => `w${worker}-${n}`);
  const held = new Map<string, string>();
  const take = (who: string, addresses: readonly string[]) => {
    t.equal(addresses.length, 2, `${who} got ${addresses}`);
    for (const address of addresses) {
      t.equal(held.get(address), undefined, `${address} of ${who}`);
      held.set(address, who);
    }
  };
  const ours = async (worker: number, verb: string) => {
    const names = ofWorker(worker);
    const ended = await runLines(
      [process.execPath, child, w.dir],
      names.map((name) => `${verb} ${name}`),
    );
    t.equal(ended.status, 0, ended.stderr);
    return names.map((name, n) => [name, ended.answers[n] as string[]] as const);
  };
  const theirs = async (worker: number, verb: 'ADD' | 'DEL') => {
    const done: (readonly [string, string[]])[] = [];
    for (const name of ofWorker(worker)) {
      const answer = await reference(w, verb, config, name);
      t.equal(answer.status, 0, answer.stdout);
      done.push([name, answer.ips]);
    }
    return done;
  };
  const workers = [0, 1, 2, 3, 4, 5, 6, 7];
  const added = await Promise.all(workers.map((n) => (n % 2 === 0 ? ours(n, 'add') : theirs(n, 'ADD'))));
  for (const [who, addresses] of added.flat()) take(who, addresses);
  t.equal(held.size, 8 * 25 * 2);
  t.equal(leaseFiles(w).length, held.size);
  // Each releases what the other made.
  await Promise.all(workers.map((n) => (n % 2 === 1 ? ours(n, 'del') : theirs(n, 'DEL'))));
  t.same(leaseFiles(w), []);
  t.ok(existsSync(path.join(w.runDir, 'leases')));
});
