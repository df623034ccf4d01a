import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { cachePath, listCached, readCached, removeCached, writeCached } from '../../runtime/cache.ts';
import { makeGround } from './fake-plugins.ts';

const ID = { containerId: 'c1', ifname: 'eth0' };
const RESULT = { cniVersion: '1.0.0', ips: [{ address: '10.1.0.2/16' }] };

/** What the list was, and what libcni 1.1.2 wrote for it. */
const CONFIG =
  '{"cniVersion":"1.0.0","name":"net","plugins":[{"type":"bridge","capabilities":{"portMappings":true}}]}\n';
const BY_LIBCNI =
  '{"kind":"cniCacheV1","containerId":"c1","config":"eyJjbmlWZXJzaW9uIjoiMS4wLjAiLCJuYW1lIjoibmV0IiwicGx1Z2lucyI6W3sidH' +
  'lwZSI6ImJyaWRnZSIsImNhcGFiaWxpdGllcyI6eyJwb3J0TWFwcGluZ3MiOnRydWV9fV19Cg==","ifName":"eth0","networkName":"net",' +
  '"cniArgs":[["IgnoreUnknown","1"],["K8S_POD_NAME","p"]],"capabilityArgs":{"portMappings":[{"containerPort":80,' +
  '"hostPort":8080}]},"result":{"cniVersion":"1.0.0","dns":{},"ips":[{"address":"10.1.0.2/16"}]}}';

t.test('is written as libcni writes it', async (t) => {
  const { cache } = makeGround(t);
  writeCached(cache, {
    ...ID,
    network: 'net',
    netns: '/run/netns/c1',
    config: CONFIG,
    cniArgs: [
      ['IgnoreUnknown', '1'],
      ['K8S_POD_NAME', 'p'],
    ],
    capabilityArgs: { portMappings: [{ hostPort: 8080, containerPort: 80 }] },
    result: RESULT,
  });
  const path = join(cache, 'results', 'net-c1-eth0');
  t.equal(cachePath(cache, 'net', ID), path);
  const { netns, ...written } = JSON.parse(readFileSync(path, 'utf8'));
  t.equal(netns, '/run/netns/c1');
  t.same(written, { ...JSON.parse(BY_LIBCNI), result: RESULT });
  t.equal(statSync(path).mode & 0o777, 0o600);
  t.equal(statSync(join(cache, 'results')).mode & 0o777, 0o700);
  t.same(readdirSync(join(cache, 'results')), ['net-c1-eth0'], 'no temporary file is left');
});

t.test('what is empty is left out, as Go does', async (t) => {
  const { cache } = makeGround(t);
  writeCached(cache, { ...ID, network: 'net', cniArgs: [], capabilityArgs: {} });
  const written = JSON.parse(readFileSync(cachePath(cache, 'net', ID), 'utf8'));
  t.same(Object.keys(written), ['kind', 'containerId', 'config', 'ifName', 'networkName']);
});

t.test("libcni's file is read", async (t) => {
  const { cache } = makeGround(t);
  mkdirSync(join(cache, 'results'), { recursive: true });
  writeFileSync(cachePath(cache, 'net', ID), BY_LIBCNI);
  t.same(readCached(cache, 'net', ID), {
    ...ID,
    network: 'net',
    config: CONFIG,
    cniArgs: [
      ['IgnoreUnknown', '1'],
      ['K8S_POD_NAME', 'p'],
    ],
    capabilityArgs: { portMappings: [{ hostPort: 8080, containerPort: 80 }] },
    result: { cniVersion: '1.0.0', dns: {}, ips: [{ address: '10.1.0.2/16' }] },
  });
});

t.test('a bare result of an old libcni is read', async (t) => {
  const { cache } = makeGround(t);
  mkdirSync(join(cache, 'results'), { recursive: true });
  writeFileSync(cachePath(cache, 'net', ID), JSON.stringify(RESULT));
  t.same(readCached(cache, 'net', ID), {
    ...ID,
    network: 'net',
    cniArgs: [],
    capabilityArgs: {},
    result: RESULT,
  });
});

t.test('absent is undefined, half written is an error', async (t) => {
  const { cache } = makeGround(t);
  t.equal(readCached(cache, 'net', ID), undefined);
  mkdirSync(join(cache, 'results'), { recursive: true });
  writeFileSync(cachePath(cache, 'net', ID), BY_LIBCNI.slice(0, 100));
  t.throws(() => readCached(cache, 'net', ID), { code: 6, message: /is not JSON \(half written\?\)/ });
});

t.test('a network is not mistaken for one whose name it begins', async (t) => {
  const { cache } = makeGround(t);
  const entry = { cniArgs: [], capabilityArgs: {}, config: '{}', result: RESULT };
  writeCached(cache, { ...entry, network: 'net', containerId: 'b-eth0', ifname: 'eth0' });
  writeCached(cache, { ...entry, network: 'net-b', containerId: 'c', ifname: 'eth0' });
  writeFileSync(join(cache, 'results', 'net-foreign-eth0'), 'no JSON');
  t.same(
    listCached(cache, 'net').map(({ containerId }) => containerId),
    ['b-eth0'],
  );
  removeCached(cache, 'net', { containerId: 'b-eth0', ifname: 'eth0' });
  removeCached(cache, 'net', { containerId: 'b-eth0', ifname: 'eth0' });
  t.same(listCached(cache, 'net'), []);
  t.same(
    listCached(cache, 'net-b').map(({ containerId }) => containerId),
    ['c'],
  );
});

t.test('no folder, no attachments', async (t) => {
  t.same(listCached('/nonexistent', 'net'), []);
});
