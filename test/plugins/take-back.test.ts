/** What a failed ADD gives back to IPAM: what this ADD took, and nothing that may be a running container's. */
import { chmod, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { openDoor } from '../../netlink/namespace.ts';
import { leases } from '../support/host.ts';
import { failingDoor } from './failing-door.ts';
import { BRIDGE, makeWorld } from './world.ts';

const HELD = ['mynet/10.1.0.2', 'mynet/fd00:1::2'];

t.test('addresses that the attachment held before stay its own, wherever the second ADD fails', async (t) => {
  const world = await makeWorld(t);
  const [running, other] = [await world.container(), await world.container()];
  const again = { id: running.id, netns: other.netns };
  for (let n = 1; ; n += 1) {
    const door = failingDoor(openDoor(), n);
    if (n === 1) await world.add(BRIDGE, running);
    const answer = await world.call('ADD', BRIDGE, { container: again, door });
    if (door.asked.length < n) {
      t.equal(answer.status, 0);
      break;
    }
    t.not(answer.status, 0);
    t.same(await leases(world.host), HELD, `failing at ${n}: ${door.asked[n - 1]}`);
  }
});

t.test('an ADD that our own IPAM refuses releases nothing', async (t) => {
  const world = await makeWorld(t);
  const [running, other] = [await world.container(), await world.container()];
  await world.add(BRIDGE, running);
  const again = { id: running.id, netns: other.netns };
  const answer = await world.call('ADD', BRIDGE, { container: again, args: 'IP=10.1.0.77' });
  t.match(answer.json, { code: 104, msg: /asks for 10\.1\.0\.77 and holds 10\.1\.0\.2 already/ });
  t.same(await leases(world.host), HELD);
});

/** An IPAM of somebody else's, which notes what it is asked. */
async function foreignIpam(dir: string, answer: string): Promise<() => Promise<string[]>> {
  const log = join(dir, 'asked');
  const script = `#!/bin/sh\ncat >/dev/null\necho "$CNI_COMMAND" >>${log}\n[ "$CNI_COMMAND" = ADD ] || exit 0\n${answer}\n`;
  await writeFile(join(dir, 'their-ipam'), script);
  await chmod(join(dir, 'their-ipam'), 0o755);
  return async () => (await readFile(log, 'utf8')).trim().split('\n');
}

t.test('an IPAM that is executed gets its DEL after every failure', async (t) => {
  const config = { ...BRIDGE, isGateway: false, ipam: { type: 'their-ipam' } };
  const ips = '{"cniVersion":"1.1.0","ips":[{"address":"10.1.0.9/24"}]}';
  const cases = {
    'it fails itself': { answer: `echo '{"code":11,"msg":"no"}'; exit 1`, n: 0 },
    'the kernel refuses': { answer: `echo '${ips}'`, n: 4 },
  };
  for (const [name, { answer, n }] of Object.entries(cases)) {
    t.test(name, async (t) => {
      const world = await makeWorld(t);
      const asked = await foreignIpam(world.host.dirs.bin, answer);
      const { status } = await world.call('ADD', config, {
        container: await world.container(),
        door: failingDoor(openDoor(), n),
        env: { CNI_PATH: world.host.dirs.bin },
      });
      t.not(status, 0);
      t.same(await asked(), ['ADD', 'DEL']);
    });
  }
});
