/** What `--registry` may say, and what is answered to anything else. */
import { join } from 'node:path';
import t from 'tap';
import { parseEtcdLocation } from '../../cluster/etcd/location.ts';
import { openRegistry } from '../../cluster/open-registry.ts';

t.test('etcd locations', async (t) => {
  t.same(parseEtcdLocation('etcd://10.0.0.1'), {
    endpoints: ['http://10.0.0.1:2379'],
    prefix: '/weft',
    ttl: 86400,
    timeout: 5,
  });
  t.same(
    parseEtcdLocation('etcd+tls://a.example:1,[2001:db8::1]:2,c/one/two/?user=u&ttl=3600&timeout=2')
      .endpoints,
    ['https://a.example:1', 'https://[2001:db8::1]:2', 'https://c:2379'],
  );
  t.same(parseEtcdLocation('etcd://a/one/two/?ca=/ca.pem&cert=/c.pem&key=/k.pem&user=u&password-file=/p'), {
    endpoints: ['https://a:2379'],
    prefix: '/one/two',
    ttl: 86400,
    timeout: 5,
    ca: '/ca.pem',
    cert: '/c.pem',
    key: '/k.pem',
    user: 'u',
    passwordFile: '/p',
  });
});

const WRONG: readonly [string, RegExp][] = [
  ['', /wanted the absolute path of a YAML file, etcd:\/\//],
  ['hosts.yaml', /registry "hosts\.yaml": wanted the absolute path/],
  ['/no/such/folder/hosts.yaml', /hosts\.yaml: there is no folder \/no\/such\/folder: is it mounted\?/],
  ['file:///no/hosts.yaml', /there is no folder \/no: is it mounted\?/],
  ['/dev/null/hosts.yaml', /there is no folder \/dev\/null/],
  ['/tmp', /registry file \/tmp: is a folder, wanted a file/],
  ['consul://a', /registry "consul:\/\/a": wanted/],
  ['http://user:secret@a', /registry "http:\/\/\.\.\.@a": wanted/],
  ['etcd://', /found "", wanted HOST:PORT/],
  ['etcd://a:0', /found "a:0", wanted HOST:PORT/],
  ['etcd://a:99999', /wanted HOST:PORT/],
  ['etcd://a,,b', /found "", wanted HOST:PORT/],
  ['etcd://user:secret@a', /a password in the location is seen by everybody/],
  ['etcd://a?password=secret', /wanted password-file=FILE or WEFT_ETCD_PASSWORD/],
  ['etcd://a?tsl=1', /found parameter "tsl", wanted one of ca, cert, key, user, password-file, ttl, timeout/],
  ['etcd://a?cert=/c.pem', /cert and key belong together/],
  ['etcd://a?password-file=/p', /password-file without user/],
  ['etcd://a?ttl=soon', /found ttl=soon, wanted seconds from 1/],
  ['etcd://a?ttl=0', /found ttl=0/],
  ['etcd://a/../b c', /found prefix "\/\.\.\/b c", wanted \/NAME/],
  ['etcd://a?ca=/nowhere/ca.pem', /ca=\/nowhere\/ca\.pem cannot be read: ENOENT/],
  ['etcd://a?user=u', /user u has no password: wanted password-file=FILE, or WEFT_ETCD_PASSWORD/],
  ['etcd://a?user=u&password-file=/nowhere', /password-file=\/nowhere cannot be read: ENOENT/],
];

t.test('wrong locations are refused with what is wanted, and without passwords', async (t) => {
  for (const [location, message] of WRONG) {
    const error = await openRegistry(location, { env: {} }).catch((error: unknown) => error);
    t.match(error, { problem: 'invalid', message }, location);
    t.notMatch(String(error), 'secret');
  }
});

t.test('a join that cannot be meant is refused before anybody is asked', async (t) => {
  const registry = await openRegistry(join(t.testdir({}), 'hosts.yaml'), { env: {} });
  const good = {
    network: 'n',
    host: 'h',
    addresses: ['192.0.2.1'],
    pools: [{ prefix: '10.0.0.0/16', blockLength: 24 }],
    before: [],
    avoid: [],
  };
  for (const [more, message] of [
    [{ network: 'a/b' }, /network name "a\/b": wanted/],
    [{ host: '' }, /host name "": wanted/],
    [{ addresses: ['192.0.2.1/24'] }, /"192\.0\.2\.1\/24" is no address/],
    [{ addresses: ['2001:DB8::1'] }, /canonical/],
    [{ pools: [] }, /has no pool/],
    [{ pools: [{ prefix: '10.0.0.1/16', blockLength: 24 }] }, /host bits set: wanted 10\.0\.0\.0\/16/],
    [{ pools: [{ prefix: '10.0.0.0/16', blockLength: 12 }] }, /wanted a length from 16 to 32/],
    [{ before: ['x'] }, /"x" is no prefix/],
  ] as const) {
    await t.rejects(registry.join({ ...good, ...more }), { problem: 'invalid', message });
  }
  t.same((await registry.read('n')).members, []);
});
