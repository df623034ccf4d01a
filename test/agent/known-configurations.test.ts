import t from 'tap';
import { KnownConfigurations } from '../../agent/known-configurations.ts';
import { decodeConf } from '../../cni/netconf.ts';

const schema = { type: 'object', properties: { ipam: { type: 'object' } } };
const text = (more: object = {}) =>
  JSON.stringify({ cniVersion: '1.0.0', name: 'n', type: 'bridge', ipam: { type: 'host-local' }, ...more });

t.test('a text is decoded once, and cannot be changed by who gets it', async (t) => {
  const known = new KnownConfigurations();
  const first = known.decode(text(), schema);
  t.same(first, decodeConf(text(), schema));
  t.equal(known.decode(text(), schema), first);
  t.throws(() => Object.assign(first.conf?.ipam as object, { type: 'dhcp' }), TypeError);
  t.not(known.decode(text({ mtu: 1400 }), schema), first);
  t.not(known.decode(text(), { ...schema }), first, 'another plugin reads the same text in its own way');
});

t.test('what is of one container only, or too long, or none, is not kept', async (t) => {
  const known = new KnownConfigurations();
  for (const one of [text({ prevResult: { ips: [] } }), text({ note: 'x'.repeat(20_000) }), '{', '']) {
    const first = known.decode(one, schema);
    t.same(first.fault?.message, decodeConf(one, schema).fault?.message);
    t.not(known.decode(one, schema), first);
  }
});

t.test('as many as there may be, the oldest goes', async (t) => {
  const known = new KnownConfigurations();
  const first = known.decode(text({ mtu: 1 }), schema);
  for (let mtu = 2; mtu <= 32; mtu++) known.decode(text({ mtu }), schema);
  t.equal(known.decode(text({ mtu: 1 }), schema), first);
  known.decode(text({ mtu: 33 }), schema);
  t.not(known.decode(text({ mtu: 1 }), schema), first);
});
