import { fileURLToPath } from 'node:url';
import t from 'tap';
import { nftablesBackend } from '../../firewall/nftables.ts';
import { openDoor } from '../../netlink/namespace.ts';
import { realAmbient } from '../../runtime/ambient.ts';
import { execIn, type Host, makeHost } from '../support/host.ts';
import { masqueradeSuite } from './suite.ts';

masqueradeSuite(t, {
  make: nftablesBackend,
  flushes: [
    'nft flush ruleset',
    'nft flush table inet weft',
    'nft flush chain inet weft postrouting',
    'nft flush chain inet weft masq-net1',
    'nft flush chain inet weft postrouting; nft delete chain inet weft postrouting',
  ],
  native: true,
  typed: true,
  process: 'nftables',
  crowd: 2 + 9 + 2 + 1,
});

t.test('nft is not installed: told by name, and nothing is changed', async (t) => {
  const host = await makeHost(t);
  const adder = fileURLToPath(new URL('adder.ts', import.meta.url));
  // A file that cannot be executed hides the program, in a mount namespace of its own.
  const script =
    'nft=$(command -v nft) && mount --bind /dev/null "$nft" && mount --bind /dev/null "/usr/sbin/nft" && exec "$@"';
  const run = ['unshare', '--mount', 'sh', '-ec', script, 'sh', process.execPath, '--import=tsx', adder];
  const { status, stderr } = await execIn(host.netns, 'env', [...run, 'nftables', host.netns, '1'], {
    env: host.env,
    mayFail: true,
    input: '',
  });
  t.not(status, 0);
  t.match(stderr, /cannot install the nftables base rules of network net1: nft is not installed/);
  t.equal((await execIn(host.netns, 'nft', ['list', 'ruleset'])).stdout, '');
});

const member = { network: 'net1', containerId: 'c1', ifname: 'eth0', sources: ['10.9.0.2'], except: [] };

t.test('elements count; a map that was made before they did keeps its shape', async (t) => {
  const elements = async (host: Host) =>
    (await execIn(host.netns, 'nft', ['list', 'map', 'inet', 'weft', 'masquerade4'])).stdout;
  for (const before of [
    '',
    'add table inet weft; add map inet weft masquerade4 { type ipv4_addr : verdict; }',
  ]) {
    const host = await makeHost(t);
    if (before) await execIn(host.netns, 'nft', [before]);
    const namespace = await openDoor().open(host.netns);
    t.teardown(() => namespace.close());
    await nftablesBackend(namespace, realAmbient(host.env)).addMasquerade(member);
    t.match(
      await elements(host),
      before ? /\{ 10\.9\.0\.2 comment "c1 eth0"/ : /\{ 10\.9\.0\.2 counter packets 0 bytes 0 comment/,
    );
  }
});
