/** Who gets what, without any server: arithmetic, rules, and a model that joins, leaves, crashes and loses answers. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import type { Pool } from '../../cluster/network.ts';
import { extended, joined, publication, reduced } from '../../cluster/registry/allocate.ts';
import { freeBlock } from '../../cluster/registry/blocks.ts';
import { StoredRegistry } from '../../cluster/registry/stored-registry.ts';
import { type Member, type NetworkState, RegistryError } from '../../cluster/registry.ts';
import { overlap } from '../../cni/prefix.ts';
import { until } from '../support/until.ts';
import { type Fault, Memory, MemoryStore } from './memory-store.ts';
import { clashes, POOL, POOL6, request } from './registry-support.ts';

const state = (...members: Member[]): NetworkState => ({ members, endpoints: [] });
const member = (host: string, ...subnets: string[]): Member => ({ host, addresses: ['192.0.2.99'], subnets });

t.test('free blocks', async (t) => {
  const pool = (prefix: string, blockLength: number): Pool => ({ prefix, blockLength });
  t.equal(freeBlock(pool('10.0.0.0/16', 24), [], 0n), '10.0.0.0/24');
  t.equal(freeBlock(pool('10.0.0.0/16', 24), [], 255n), '10.0.255.0/24');
  t.equal(freeBlock(pool('10.0.0.0/16', 24), [], 256n), '10.0.0.0/24', 'the seed goes round');
  t.equal(freeBlock(pool('10.0.0.0/16', 24), ['10.0.0.0/17'], 3n), '10.0.128.0/24');
  t.equal(freeBlock(pool('10.0.0.0/16', 24), ['10.0.255.0/24'], 255n), '10.0.0.0/24', 'and begins anew');
  t.equal(
    freeBlock(pool('10.0.0.0/16', 24), ['10.0.0.7', '10.0.1.0/32', '10.0.2.128/25'], 0n),
    '10.0.3.0/24',
  );
  t.equal(freeBlock(pool('10.0.0.0/16', 24), ['0.0.0.0/0'], 0n), undefined);
  t.equal(freeBlock(pool('10.0.0.0/16', 24), ['::/0', '10.1.0.0/16'], 0n), '10.0.0.0/24');
  t.equal(freeBlock(pool('10.0.0.0/24', 24), [], 7n), '10.0.0.0/24');
  t.equal(freeBlock(pool('10.0.0.0/24', 24), ['10.0.0.9'], 7n), undefined);
  t.equal(
    freeBlock(pool('fd00::/8', 128), [], 0n),
    'fd00::1/128',
    'the subnet-router anycast address is nobody',
  );
  t.equal(freeBlock(pool('fd00::/8', 64), ['fd00::/9'], 2n ** 70n), 'fd80::/64');
  t.equal(freeBlock(pool('::/0', 128), ['::/1'], 5n), '8000::/128');
  t.equal(
    freeBlock(pool('10.0.0.0/30', 32), ['10.0.0.1', '10.0.0.2'], 0n),
    undefined,
    'nor network or broadcast',
  );
  t.throws(() => freeBlock(pool('10.0.0.0/16', 8), [], 0n), {
    problem: 'invalid',
    message: /length from 16 to 32/,
  });
  t.throws(() => freeBlock(pool('10.0.0.0/16', 33), [], 0n), { message: /length from 16 to 32/ });
  t.throws(() => freeBlock(pool('10.0.0.0', 24), [], 0n), { problem: 'invalid', message: /no prefix/ });
});

t.test('a free block overlaps nothing, and is found when there is one', async () => {
  const block = fc.tuple(fc.integer({ min: 20, max: 28 }), fc.nat(255)).map(([bits, index]) => {
    const value = (index << 4) & (-1 << (32 - bits)) & 0xfff;
    return `10.0.${value >> 8}.${value & 255}/${bits}`;
  });
  fc.assert(
    fc.property(
      fc.array(block, { maxLength: 40 }),
      fc.integer({ min: 20, max: 28 }),
      fc.nat(),
      (taken, length, seed) => {
        const found = freeBlock({ prefix: '10.0.0.0/20', blockLength: length }, taken, BigInt(seed));
        const all = Array.from({ length: 2 ** (length - 20) }, (_, index) => {
          const value = index << (32 - length);
          return `10.0.${value >> 8}.${value & 255}/${length}`;
        });
        const free = all.filter((one) => !taken.some((other) => overlap(one, other)));
        if (found === undefined) assert.deepEqual(free, []);
        else assert.ok(free.includes(found));
      },
    ),
    { numRuns: 300 },
  );
});

t.test('joining', async (t) => {
  const first = joined(state(), request(1, { pools: [POOL, POOL6] }));
  t.equal(first.subnets.length, 2);
  t.match(first.subnets, [/^10\.244\.\d+\.0\/24$/, /^fd00:244:0:\w*:*:\/64$/]);
  t.same(joined(state(), request(1, { pools: [POOL, POOL6] })), first, 'points at the same each time');
  t.same(joined(state(first), request(1, { pools: [POOL, POOL6] })), first);
  t.same(joined(state(first), request(1)).subnets, [first.subnets[0]], 'what is in no pool any more goes');

  const before = ['10.244.7.0/24'];
  t.same(joined(state(), request(1, { before })).subnets, before);
  const taken = joined(state(member('other', '10.244.7.0/24')), request(1, { before })).subnets;
  t.not(taken[0], before[0], 'somebody else has it');
  t.not(
    joined(state(), request(1, { before, avoid: ['10.244.7.128/25'] })).subnets[0],
    before[0],
    'a route is there',
  );
  t.not(
    joined(state(), request(1, { before: [POOL.prefix] })).subnets[0],
    POOL.prefix,
    'a file cannot ask for all',
  );
  const several = ['10.244.7.0/24', '10.244.9.0/24'];
  t.same(joined(state(), request(1, { before: several })).subnets, several, 'blocks of an L2 pool');
  const written = member('host-1', '10.244.0.0/20');
  t.same(
    joined(state({ ...written, addresses: ['192.0.2.1'] }), request(1)).subnets,
    ['10.244.0.0/20'],
    'by a person',
  );
});

t.test('who has the same name', async (t) => {
  const other = { ...member('host-1', '10.244.3.0/24'), addresses: ['198.51.100.1'] };
  t.throws(() => joined(state(other), request(1)), {
    problem: 'taken',
    message:
      /^network pods: a host named host-1 is registered with 198\.51\.100\.1 and 10\.244\.3\.0\/24, this one has 192\.0\.2\.1: /,
  });
  const moved = joined(state(other), request(1, { before: ['10.244.3.0/24'] }));
  t.same(
    [moved.addresses, moved.subnets],
    [['192.0.2.1'], ['10.244.3.0/24']],
    'it was there before: its address changed',
  );
  const dual = { ...other, addresses: ['198.51.100.1', '2001:db8::1'] };
  t.same(joined(state(dual), request(1, { addresses: ['192.0.2.1', '2001:db8::1'] })).subnets, other.subnets);
});

t.test('blocks, borrowed addresses and what is given back', async (t) => {
  const pool = { prefix: '10.9.0.0/28', blockLength: 29 };
  const two = state(member('a', '10.9.0.0/29'), member('b', '10.9.0.8/29'));
  t.same(extended(state(member('a', '10.9.0.0/29')), 'a', pool, 1).subnets, ['10.9.0.0/29', '10.9.0.8/29']);
  t.same(extended(two, 'a', pool, 2).borrowed, ['10.9.0.14', '10.9.0.13'], 'not the broadcast address');
  const used = { ...two, endpoints: [{ address: '10.9.0.14', mac: '02:00:00:00:00:01', host: 'b' }] };
  t.same(extended(used, 'a', pool, 2).borrowed, ['10.9.0.13', '10.9.0.12'], 'nor one that a container has');
  t.same(extended(two, 'b', pool, 9).borrowed, [
    '10.9.0.7',
    '10.9.0.6',
    '10.9.0.5',
    '10.9.0.4',
    '10.9.0.3',
    '10.9.0.2',
  ]);
  t.throws(() => extended(state(member('a', '10.9.0.0/28')), 'a', pool, 2), {
    message: /no \/29 of 10\.9\.0\.0\/28 is left/,
  });
  t.throws(() => extended(state(), 'a', pool, 2), { problem: 'invalid', message: /must join first/ });
  const lent = { ...member('a', '10.9.0.0/29'), borrowed: ['10.9.0.14', '10.9.0.13'] };
  t.same(reduced(state(lent), 'a', ['10.9.0.14/32', '10.9.0.0/29']), {
    ...lent,
    subnets: [],
    borrowed: ['10.9.0.13'],
  });
  // The block came free while an address of it is with somebody else: it is not given as a whole.
  t.throws(
    () => extended(state(member('a', '10.9.0.0/29'), { ...lent, host: 'b', subnets: [] }), 'a', pool, 0),
    {
      message: /is left for host a/,
    },
  );
});

t.test('publication', async (t) => {
  const endpoint = (address: string, host: string) => ({ address, mac: '02:00:00:00:00:01', host });
  const now = {
    members: [member('a'), member('b')],
    endpoints: ['1', '2', '3'].map((n) => endpoint(`10.0.0.${n}`, n === '3' ? 'b' : 'a')),
  };
  t.same(publication(now, 'a', [endpoint('10.0.0.1', 'a'), endpoint('10.0.0.3', 'a')], new Set()), {
    put: [endpoint('10.0.0.3', 'a')],
    remove: ['10.0.0.2'],
  });
  t.same(publication(now, 'a', [endpoint('10.0.0.3', 'a')], new Set(['10.0.0.3'])), {
    put: [],
    remove: ['10.0.0.1', '10.0.0.2'],
  });
});

t.test('a registration that ran out', async (t) => {
  const memory = new Memory();
  const events: string[] = [];
  let expire = () => {};
  const hooks = {
    renewed: () => {},
    restored: (network: string, { host, subnets }: Member) =>
      void events.push(`restored ${network} ${host} ${subnets}`),
    gone: (network: string, error: Error) => void events.push(`gone ${network}: ${error.message}`),
  };
  const registry = new StoredRegistry(
    (expired) => {
      expire = () => {
        memory.forget('host-1');
        expired('host-1');
      };
      return new MemoryStore(memory);
    },
    hooks,
    () => 0,
  );
  const first = await registry.join(request(1));
  const endpoint = { address: '10.244.0.9', mac: '02:00:00:00:00:01', host: 'host-1' };
  await registry.publish('pods', 'host-1', [endpoint]);
  const before = memory.state();
  memory.faults = ['look', 'before', 'after', 'stale'];
  expire();
  expire();
  await until('it is restored', () => events.length > 0);
  t.match(events[0], `restored pods host-1 ${first.subnets}`);
  await until('its container too', () => memory.endpoints.size === 1);
  t.same(memory.state(), before);
  await until('nothing goes on', async () => {
    const seen = events.length;
    await new Promise((resolve) => setTimeout(resolve, 50));
    return events.length === seen;
  });

  // The agent joins while the same is taken again: what it is told it got is what it has.
  for (let round = 0; round < 20; round += 1) {
    memory.forget('host-1');
    if (round % 2 === 0) memory.members.set('other', member('other', ...first.subnets));
    expire();
    const [again] = await Promise.all([
      registry.join(request(1, { before: first.subnets })),
      Promise.resolve(),
    ]);
    await new Promise((resolve) => setTimeout(resolve, 2));
    t.same(memory.members.get('host-1')?.subnets, again.subnets);
    t.same(clashes(memory.state().members), []);
    memory.forget('other');
    memory.forget('host-1');
    await registry.join(request(1, { before: first.subnets }));
  }

  events.length = 0;
  memory.members.set('other', member('other', ...first.subnets));
  expire();
  await until('it is told', () => events.some((event) => event.startsWith('gone')));
  t.match(
    events.find((event) => event.startsWith('gone')),
    /^gone pods: network pods: the registration of host host-1 ran out while memory could not be reached, and host other holds 10\.244\.\d+\.0\/24 now: /,
  );
  expire();
  t.equal(memory.members.has('host-1'), false, 'and not tried again');
});

// The model: what each host believes that it holds is in the registry or was forgotten there, and never two have the same.
type Step = {
  host: number;
  kind: 'join' | 'leave' | 'extend' | 'giveBack' | 'crash' | 'forget';
  fault: Fault;
};
const step: fc.Arbitrary<Step> = fc.record({
  host: fc.integer({ min: 1, max: 6 }),
  kind: fc.constantFrom('join', 'join', 'join', 'leave', 'extend', 'giveBack', 'crash', 'forget'),
  fault: fc.constantFrom('none', 'none', 'look', 'before', 'after', 'stale'),
});

t.test('whatever fails, two hosts never hold one subnet, and asking again gives the same', async () => {
  // Six hosts, four whole blocks.
  const pool = { prefix: '10.9.0.0/27', blockLength: 29 };
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(step, { minLength: 1, maxLength: 4 }), { maxLength: 25 }),
      async (rounds) => {
        const memory = new Memory();
        const hooks = { renewed: () => {}, restored: () => {}, gone: () => {} };
        const registry = () =>
          new StoredRegistry(
            () => new MemoryStore(memory),
            hooks,
            () => 0,
          );
        const believed = new Map<number, Member>();
        const clients = new Map<number, StoredRegistry>();
        const run = async ({ host, kind }: Step) => {
          const client = clients.get(host) ?? registry();
          clients.set(host, client);
          const own = { network: 'pods', host: `host-${host}` };
          const before = believed.get(host)?.subnets ?? [];
          if (kind === 'forget') {
            memory.forget(own.host);
            believed.delete(host);
          } else if (kind === 'crash') {
            clients.delete(host);
          } else if (kind === 'leave') {
            await client.leave('pods', own.host);
            believed.delete(host);
          } else {
            const member = await (kind === 'join'
              ? client.join(request(host, { pools: [pool], before }))
              : kind === 'extend'
                ? client.extend({ ...own, pool, count: 2 })
                : client.giveBack({ ...own, subnets: before.slice(1) }));
            believed.set(host, member);
          }
        };
        for (const steps of rounds) {
          memory.faults = steps.map(({ fault }) => fault);
          const together = new Map(steps.map((one) => [one.host, one]));
          await Promise.all(
            [...together.values()].map((one) =>
              run(one).catch((error: unknown) => {
                if (!(error instanceof RegistryError)) throw error;
                if (!['unreachable', 'exhausted', 'invalid'].includes(error.problem)) throw error;
              }),
            ),
          );
          const { members } = memory.state();
          assert.deepEqual(clashes(members), []);
          const borrowed = members.flatMap((one) => one.borrowed ?? []);
          assert.equal(new Set(borrowed).size, borrowed.length);
        }
        memory.faults = [];
        for (const [host, { subnets }] of believed) {
          const again = await registry()
            .join(request(host, { pools: [pool], before: subnets }))
            .catch(() => undefined);
          const twice = await registry()
            .join(request(host, { pools: [pool] }))
            .catch(() => undefined);
          assert.deepEqual(twice?.subnets, again?.subnets);
        }
        assert.deepEqual(clashes(memory.state().members), []);
      },
    ),
    { numRuns: 300 },
  );
});
