/** Steps against kernels that are not this one, in memory: what they ask, in which order. */
import t from 'tap';
import { apply } from '../../plan/engine.ts';
import type { UpperStep, VrfStep } from '../../plan/step.ts';
import { aLink, around, type Script, scripted, Turns } from './scripted.ts';

const UPPER: UpperStep = {
  kind: 'upper',
  in: 'container',
  name: 'eth0',
  lower: { in: 'host', name: 'lan0' },
  as: { type: 'macvlan', mode: 'bridge' },
  up: true,
  alias: 'weft net c1 eth0',
  spare: 'vethspare',
};

const VRF: VrfStep = { kind: 'vrf', in: 'container', name: 'blue', dev: 'eth0' };

async function run(
  plan: readonly (UpperStep | VrfStep)[],
  onHost: Script,
  inside: Script,
): Promise<string[]> {
  const asked: string[] = [];
  await apply(plan, around(scripted(onHost, asked, 8), scripted(inside, asked)));
  return asked;
}

t.test('before Linux 6.14 a name that the host has is not free for the container', async (t) => {
  const onHost = { 'look up link lan0': aLink({ index: 3, name: 'lan0' }), 'create macvlan eth0': 'EEXIST' };
  const inside = {
    'look up link vethspare': aLink({ index: 7 }),
    'look up link eth0': new Turns('ENODEV', aLink({ index: 7, name: 'eth0' })),
  };
  t.same(await run([UPPER], onHost, inside), [
    'look up link lan0',
    'create macvlan eth0',
    'look up link eth0',
    'create macvlan vethspare',
    'look up link vethspare',
    'change link 7',
    'change link eth0',
    'look up link eth0',
  ]);
  const taken = run([UPPER], onHost, { 'look up link eth0': aLink({ index: 5 }) });
  await t.rejects(taken, { code: 104, message: /the container has a link eth0 already/ });
});

t.test('a VRF is made with a free table, and what the link had is put back', async (t) => {
  const inside = {
    'look up link blue': 'ENODEV',
    'list links': [aLink({ index: 2, name: 'eth0' }), aLink({ index: 4, name: 'red', vrf: { table: 1 } })],
    'create vrf blue': aLink({ index: 6, name: 'blue', kind: 'vrf', vrf: { table: 3 } }),
    'look up link eth0': aLink({ index: 2, name: 'eth0' }),
  };
  const asked: string[] = [];
  const container = scripted(
    {
      ...inside,
      'list addresses of link 2': [
        { cidr: 'fe80::1/64', scope: 253 },
        { cidr: 'fd00::2/64', scope: 0 },
      ],
      'list routes': new Turns(
        [{ table: 2 }],
        [
          { dst: '0.0.0.0/0', gateway: '10.0.0.1', table: 254, protocol: 3 },
          { dst: '10.0.0.0/24', table: 254, protocol: 2 },
        ],
      ),
    },
    asked,
  );
  await apply([VRF], around(scripted({}, []), container));
  t.same(asked.slice(0, 4), ['look up link blue', 'list links', 'list routes', 'create vrf blue']);
  t.same(asked.slice(asked.indexOf('change link 2')), [
    'change link 2',
    'add address fd00::2/64 to link 2',
    'add route to 0.0.0.0/0 via 10.0.0.1 on link 2',
  ]);
});

t.test('a VRF of another table, or a link of its name, is in the way', async (t) => {
  const found = (link: object) => run([{ ...VRF, table: 7 }], {}, { 'look up link blue': aLink(link) });
  await t.rejects(found({ kind: 'vrf', vrf: { table: 8 } }), { code: 104, message: /found it with table 8/ });
  await t.rejects(found({ kind: 'bridge' }), { code: 104, message: /of kind bridge/ });
});
