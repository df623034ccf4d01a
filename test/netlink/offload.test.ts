import t from 'tap';
import { createVxlan } from '../../netlink/link.ts';
import { checksumOffload, setChecksumOffload } from '../../netlink/offload.ts';
import { ask, namespaceFor } from './support.ts';

t.test('checksum offload is asked for and switched in the namespace', async (t) => {
  const { ns, name } = await namespaceFor(t);
  await ask(ns, createVxlan({ name: 'vx0', vxlan: { vni: 5, port: 4789 } }));
  t.equal(await checksumOffload(ns, 'vx0'), true);
  await setChecksumOffload(ns, 'vx0', false);
  t.equal(await checksumOffload(ns, 'vx0'), false);
  await setChecksumOffload(ns, 'vx0', true);
  t.equal(await checksumOffload(ns, 'vx0'), true);
  await t.rejects(checksumOffload(ns, 'nowhere'), {
    code: 'ENODEV',
    message: /ask nowhere for its checksum offload/,
  });
  await t.rejects(setChecksumOffload(ns, 'nowhere', true), { code: 'ENODEV' }, name);
  await t.rejects(checksumOffload(ns, 'a-name-that-is-too-long'), TypeError);
});
