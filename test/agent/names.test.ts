/** Answers to names, as bytes. */
import * as dns from 'dns-packet';
import fc from 'fast-check';
import t from 'tap';
import { asDatagram, failure, readQuery, Zone } from '../../agent/names/zone.ts';

const WEB = { domain: 'dns.podman', names: ['web', 'www'], addresses: ['10.79.0.2/24', 'fd00:79::2/64'] };
const zone = new Zone()
  .add(WEB)
  .add({ domain: 'dns.podman', names: ['www'], addresses: ['10.79.0.3/24'] })
  .add({ domain: '', names: ['bare'], addresses: ['10.79.0.4/24'] })
  .add({ domain: '', names: [], addresses: ['10.79.0.5/24'] });

/** The answer as who asked reads it. */
function ask(name: string, type: dns.RecordType = 'A', where = zone) {
  const flags = dns.RECURSION_DESIRED;
  const query = readQuery(dns.encode({ type: 'query', id: 77, flags, questions: [{ type, name }] }));
  const answer = query && where.answer(query);
  if (answer === undefined) return undefined;
  const {
    id,
    rcode,
    answers = [],
    flag_aa,
    flag_ra,
    flag_rd,
  } = dns.decode(Buffer.from(answer)) as dns.DecodedPacket & {
    rcode: string;
  };
  t.match({ id, flag_aa, flag_ra, flag_rd }, { id: 77, flag_aa: true, flag_ra: true, flag_rd: true });
  const data = answers.map((one) => String((one as { data: unknown }).data));
  return rcode === 'NOERROR' ? data : rcode;
}

t.test('what is known, and what is not', async (t) => {
  t.same(ask('web'), ['10.79.0.2']);
  t.same(ask('WEB.dns.podman', 'AAAA'), ['fd00:79::2']);
  t.same(ask('www'), ['10.79.0.2', '10.79.0.3'], 'two containers of one name');
  t.same(ask('bare', 'AAAA'), [], 'the name is there, no such address is');
  t.same(ask('bare.dns.podman'), 'NXDOMAIN');
  t.same(ask('web', 'MX'), []);
  t.same(ask('nobody.dns.podman'), 'NXDOMAIN');
  t.same(ask('dns.podman'), 'NXDOMAIN');
  t.equal(ask('dns.podman.example'), undefined, "others'");
  t.equal(ask('nobody'), undefined);
  t.same(ask('2.0.79.10.in-addr.arpa', 'PTR'), ['web.dns.podman']);
  t.same(ask('4.0.79.10.in-addr.arpa', 'PTR'), ['bare']);
  t.equal(ask('5.0.79.10.in-addr.arpa', 'PTR'), undefined, 'a container without a name');
  t.same(ask(`2.${'0.'.repeat(23)}9.7.0.0.0.0.d.f.ip6.arpa`, 'PTR'), ['web.dns.podman']);
});

t.test('what comes and goes', async (t) => {
  const some = new Zone().add(WEB).add({ ...WEB, names: ['www'], addresses: ['10.79.0.9/24'] });
  some.remove(WEB);
  t.same([ask('web', 'A', some), ask('www', 'A', some)], [undefined, ['10.79.0.9']]);
  t.same(ask('web.dns.podman', 'A', some), 'NXDOMAIN');
  t.notOk(some.mayAsk('fd00:79::2'));
  some.remove({ ...WEB, names: ['www'], addresses: ['10.79.0.9/24'] });
  t.equal(some.size, 0);
  t.equal(ask('www.dns.podman', 'A', some), undefined, 'not even its domain is left');
  t.notOk(some.mayAsk('10.79.0.9'));
});

t.test('who may ask', async (t) => {
  for (const inside of ['10.79.0.9', 'fd00:79::9', '::ffff:10.79.0.9']) t.ok(zone.mayAsk(inside), inside);
  for (const elsewhere of ['10.80.0.9', '198.51.100.2', 'fd00:80::1', 'nonsense', '']) {
    t.notOk(zone.mayAsk(elsewhere), elsewhere);
  }
});

t.test('what does not fit, what fails, what is no question', async (t) => {
  const many = new Zone().add({
    domain: '',
    names: ['many'],
    addresses: Array.from({ length: 60 }, (_, n) => `10.79.1.${n + 1}/24`),
  });
  const query = readQuery(dns.encode({ type: 'query', id: 5, questions: [{ type: 'A', name: 'many' }] }));
  const whole = query && many.answer(query);
  t.equal(dns.decode(Buffer.from(whole ?? [])).answers?.length, 60);
  const cut = dns.decode(Buffer.from(asDatagram(whole ?? new Uint8Array())));
  t.match(cut, { id: 5, flag_tc: true, answers: [] });
  t.match(dns.decode(Buffer.from(failure(query ?? ({} as dns.DecodedPacket)))), { id: 5, rcode: 'SERVFAIL' });
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
      const any = readQuery(bytes);
      if (any) zone.answer(any);
    }),
  );
  t.equal(readQuery(whole ?? new Uint8Array()), undefined, 'an answer is no question');
});
