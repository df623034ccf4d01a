import fc from 'fast-check';
import t from 'tap';
import { murmur3 } from '../../plan/hash.ts';
import {
  aliasNetwork,
  bridgeMac,
  hostLinkAlias,
  hostLinkName,
  hostLinkPrefix,
  linkMac,
} from '../../plan/names.ts';
import '../support/seed.ts';

const id = { containerId: 'c1', ifname: 'eth0' };

t.test('the hash is MurmurHash3 x86_32: its published test vectors hold', async (t) => {
  const bytes = (text: string) => new TextEncoder().encode(text);
  t.equal(murmur3(bytes(''), 0), 0);
  t.equal(murmur3(bytes(''), 1), 0x514e28b7);
  t.equal(murmur3(bytes('test'), 0), 0xba6bd213);
  t.equal(murmur3(bytes('test'), 0x9747b28c), 0x704b81dc);
  t.equal(murmur3(bytes('Hello, world!'), 0), 0xc0363e43);
  t.equal(murmur3(bytes('The quick brown fox jumps over the lazy dog'), 0x9747b28c), 0x2fa826cd);
});

t.test('names never change: DEL after an update of weft must find what ADD made before', async (t) => {
  t.equal(hostLinkName('mynet', id), 'vethe3stgvlyn2x', 'host link');
  t.equal(linkMac('mynet', id, 'container'), linkMac('mynet', id, 'container'));
  t.equal(bridgeMac('host', 'cni0'), bridgeMac('host', 'cni0'));
});

t.test(
  'any attachment gets a valid name with the prefix of its network, and unicast local MACs',
  async (t) => {
    const word = fc.string({ minLength: 1, maxLength: 80 });
    fc.assert(
      fc.property(word, word, word, (network, containerId, ifname) => {
        const name = hostLinkName(network, { containerId, ifname });
        const first = Number.parseInt(linkMac(network, { containerId, ifname }, 'host').slice(0, 2), 16);
        return (
          /^veth[a-z2-7]{11}$/.test(name) && name.startsWith(hostLinkPrefix(network)) && (first & 3) === 2
        );
      }),
    );
    t.pass();
  },
);

t.test('ten thousand attachments of one network have ten thousand names and MACs', async (t) => {
  const ids = Array.from({ length: 10_000 }, (_, i) => ({ containerId: `c${i}`, ifname: 'eth0' }));
  t.equal(new Set(ids.map((one) => hostLinkName('n', one))).size, 10_000);
  t.equal(new Set(ids.map((one) => linkMac('n', one, 'host'))).size, 10_000);
  t.not(linkMac('n', id, 'host'), linkMac('n', id, 'container'));
});

t.test('where one text ends and the next begins counts', async (t) => {
  t.not(
    hostLinkName('n', { containerId: 'ab', ifname: 'c' }),
    hostLinkName('n', { containerId: 'a', ifname: 'bc' }),
  );
});

t.test('the alias names the owner and fits into 255 bytes', async (t) => {
  t.equal(hostLinkAlias('mynet', id), 'weft mynet c1 eth0');
  const long = hostLinkAlias('n', { containerId: 'ü'.repeat(300), ifname: 'eth0' });
  t.ok(new TextEncoder().encode(long).length <= 255);
  t.notMatch(long, /\uFFFD/);
  t.equal(aliasNetwork('weft mynet c1 eth0', 'mynet'), 'ours');
  t.equal(aliasNetwork('weft mynet2 c1 eth0', 'mynet'), 'foreign');
  t.equal(aliasNetwork('uplink', 'mynet'), 'foreign');
  t.equal(aliasNetwork(undefined, 'mynet'), 'unknown');
});
