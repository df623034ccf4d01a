/** A registry file as text, changed over and over: what is read back is what was written, and what people wrote around it stays. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import * as yaml from 'yaml';
import { readDocument } from '../../cluster/file/document.ts';
import type { Change } from '../../cluster/registry/store.ts';
import { Memory } from './memory-store.ts';

const read = (text: string) => readDocument(yaml, 'hosts.yaml', text);

/** Files as people begin them. */
const BEGINNINGS = [
  '',
  '# only a comment\n',
  'networks:\n',
  'networks: {}\n',
  'networks:\n  pods:\n',
  'networks:\n  pods: { hosts: {}, endpoints: {} }\n',
  '# kept\nnetworks:\n  # kept\n  other:\n    hosts:\n      z: { addresses: [192.0.2.200] } # kept\n',
  'networks:\n  other: &o { hosts: { z: { addresses: [192.0.2.200] } } } # kept\n  more: *o\n',
];

const names = ['a', 'b.c', '7', 'true', 'null'];
const endpoint = fc.record({
  address: fc.constantFrom('10.0.0.1', '10.0.0.2', 'fd00::1', 'fd00::2'),
  mac: fc.constantFrom('02:00:00:00:00:01', '12:34:56:07:08:10'),
});
const change = fc
  .record({
    host: fc.constantFrom(...names),
    kind: fc.constantFrom('put', 'put', 'put', 'remove', 'endpoints'),
    subnets: fc.subarray([0, 1, 2]),
    borrowed: fc.boolean(),
    mac: fc.boolean(),
    put: fc.uniqueArray(endpoint, { selector: ({ address }) => address }),
  })
  .map(({ host, kind, subnets, borrowed, mac, put }): Change => {
    const index = names.indexOf(host);
    if (kind === 'remove') return { host, member: null };
    if (kind === 'endpoints') return { host, put: put.map((one) => ({ ...one, host })) };
    const member = {
      host,
      addresses: [`192.0.2.${index}`],
      subnets: subnets.map((block) => `10.${index}.${block}.0/24`),
      ...(borrowed ? { borrowed: [`10.9.0.${index}`] } : {}),
      ...(mac ? { mac: '02:00:00:00:00:0a' } : {}),
    };
    return { host, member };
  });

t.test('whatever is changed, what is read back is that, and comments stay', async () => {
  fc.assert(
    fc.property(fc.constantFrom(...BEGINNINGS), fc.array(change, { maxLength: 20 }), (beginning, changes) => {
      let text = beginning;
      const memory = new Memory();
      for (const one of changes) {
        // As the registry does: endpoints are those of members, and go with them.
        const known = memory.members.has(one.host);
        if (one.put !== undefined && !known) continue;
        const own = [...memory.endpoints.values()].filter(({ host }) => host === one.host);
        const step = one.member === null ? { ...one, remove: own.map(({ address }) => address) } : one;
        memory.swap(memory.state(), step);
        text = read(text).changed('pods', step) ?? text;
        assert.deepEqual(read(text).state('pods'), memory.state());
      }
      const kept = (from: string) => from.split('# kept').length;
      assert.equal(kept(text), kept(beginning));
      assert.equal(read(text).state('other').members.length, beginning.includes('192.0.2.200') ? 1 : 0);
    }),
    { numRuns: 120 },
  );
});
