/** A runtime on the reference library: every version that it knows, its result cache, and ours in its place. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { bridgeConflist, installConflist } from '../support/conflist.ts';
import {
  type Container,
  cachedResults,
  execIn,
  firewallLines,
  type Host,
  leases,
  links,
  makeHost,
  makeOutside,
  OUTSIDE,
  ping,
} from '../support/host.ts';
import { expectWay, fillBin, weftIsMissing } from '../support/plugins.ts';
import { buildLibcni } from './libcni.ts';

const ADDRESSES = ['10.77.0.2', 'fd00:77::2'];

/** Asserts that an attachment left nothing but the bridge, and forgets which address came last. */
async function nothingIsLeft(t: Test, host: Host, container: Container) {
  t.strictSame(await leases(host), []);
  t.strictSame(await cachedResults(host), []);
  t.strictSame(await links(container.netns), ['lo']);
  t.strictSame(
    (await links(host.netns)).filter((name) => !['lo', 'uplink'].includes(name) && !name.startsWith('br-')),
    [],
  );
  t.strictSame(await firewallLines(host.netns, container.id, ...ADDRESSES), []);
}

t.test('libcni', async (t) => {
  const host = await makeHost(t);
  await makeOutside(t, host);
  await fillBin(host, { record: true });
  const libcni = await buildLibcni(host);
  const cache = (network: string, container: Container) =>
    join(host.dirs.cache, 'results', `${network}-${container.id}-eth0`);

  for (const cniVersion of ['0.3.1', '0.4.0', '1.0.0']) {
    await t.test(`a configuration of version ${cniVersion}`, async (t) => {
      const name = `v${cniVersion.replaceAll('.', '')}`;
      const file = await installConflist(host, bridgeConflist({ cniVersion, name, bridge: `br-${name}` }));
      const container = await host.container();

      const result = JSON.parse((await libcni.run('ADD', file, container)).stdout);
      const versions = cniVersion === '1.0.0' ? [undefined, undefined] : ['4', '6'];
      t.match(result, {
        cniVersion,
        ips: [{ address: '10.77.0.2/24' }, { address: 'fd00:77::2/64' }],
      });
      t.strictSame(
        result.ips.map((address: { version?: string }) => address.version),
        versions,
      );
      for (const address of [OUTSIDE.v4, OUTSIDE.v6]) t.ok(await ping(container.netns, address), address);
      t.match(JSON.parse(await readFile(cache(name, container), 'utf8')), { kind: 'cniCacheV1' });

      if (cniVersion === '0.3.1') {
        await t.rejects(libcni.run('CHECK', file, container), { message: /does not support the CHECK/ });
      } else {
        await libcni.run('CHECK', file, container);
        await execIn(container.netns, 'ip', ['addr', 'del', '10.77.0.2/24', 'dev', 'eth0']);
        await t.rejects(
          libcni.run('CHECK', file, container),
          { message: /10\.77\.0\.2/ },
          'it sees what is gone',
        );
      }
      await libcni.run('DEL', file, container);
      await nothingIsLeft(t, host, container);
      await libcni.run('DEL', file, container);
      await execIn(host.netns, 'ip', ['link', 'del', `br-${name}`]);
    });
  }

  await t.test("it and weft read each other's results", { skip: await weftIsMissing() }, async (t) => {
    const name = 'shared';
    const file = await installConflist(host, bridgeConflist({ name, bridge: `br-${name}` }));
    const weft = (verb: string, container: Container) =>
      host.exec(join(host.dirs.bin, 'weft'), ['net', verb, name, container.netns, '--id', container.id], {
        env: { CNI_PATH: host.dirs.bin },
      });

    await t.test('ADD by the library, CHECK and DEL by weft', async (t) => {
      const container = await host.container();
      await libcni.run('ADD', file, container);
      await weft('check', container);
      await weft('del', container);
      await nothingIsLeft(t, host, container);
    });

    await t.test('ADD by weft, CHECK and DEL by the library', async (t) => {
      const container = await host.container();
      await weft('add', container);
      await libcni.run('CHECK', file, container);
      t.match(JSON.parse(await readFile(cache(name, container), 'utf8')), {
        kind: 'cniCacheV1',
        containerId: container.id,
        ifName: 'eth0',
        networkName: name,
      });
      await libcni.run('DEL', file, container);
      await nothingIsLeft(t, host, container);
    });
  });
  await expectWay(t, host);
});
