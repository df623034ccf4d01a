/** Kubernetes nodes as a registry, on a simulated API: run by registry-kubernetes.test.ts in a network namespace of its own. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { makeCertificates } from '../support/etcd.ts';
import { KubernetesApi } from '../support/kubernetes-api.ts';
import { until } from '../support/until.ts';
import { follow, hosts, open, POOL, POOL6, request, told } from './registry-support.ts';

async function cluster(t: Test) {
  const api = new KubernetesApi();
  const server = await api.start(t);
  for (const number of [1, 2, 3]) {
    api.add(
      `host-${number}`,
      [`10.244.${number}.0/24`, `fd00:244:0:${number}::/64`],
      [`192.0.2.${number}`, `2001:DB8::${number}`],
    );
  }
  const file = join(t.testdir({ kubeconfig: kubeconfig(server) }), 'kubeconfig');
  return { api, location: `kubernetes://${file}` };
}

const kubeconfig = (server: string, cluster = '', user = '{}') => `
apiVersion: v1
kind: Config
current-context: lab
contexts:
  - {name: lab, context: {cluster: lab, user: weft}}
  - {name: other, context: {cluster: nowhere, user: weft}}
clusters:
  - {name: lab, cluster: {server: "${server}"${cluster}}}
users:
  - {name: weft, user: ${user}}
`;

t.test('nodes join with what Kubernetes gave them, are seen by others, and leave', async (t) => {
  const { api, location } = await cluster(t);
  const one = await open(t, location);
  follow(t, one);
  await told(one, 'nobody has joined', ({ members }) => members.length === 0);
  const member = await one.registry.join(request(1, { pools: [POOL, POOL6] }));
  t.same(member, {
    host: 'host-1',
    addresses: ['192.0.2.1'],
    subnets: ['10.244.1.0/24', 'fd00:244:0:1::/64'],
    mac: '02:00:00:00:00:01',
  });
  t.match(api.nodes.get('host-1')?.metadata.annotations, { 'other/one': 'stays' });
  const patches = () => api.requests.filter((line) => line.startsWith('PATCH')).length;
  t.same(
    [await one.registry.join(request(1, { pools: [POOL, POOL6] })), patches()],
    [member, 1],
    'once is enough',
  );
  await one.registry.join(request(3));
  await told(one, 'two', (state) => hosts(state).join() === 'host-1,host-3');
  t.same(hosts(await one.registry.read('pods')), ['host-1', 'host-3']);
  t.same((await one.registry.read('other')).members, []);
  const before = one.states.length;
  api.touch('host-1');
  api.touch('host-2');
  await one.registry.leave('pods', 'host-1');
  await told(one, 'one left', (state) => hosts(state).join() === 'host-3');
  t.equal(one.states.length, before + 1, 'that a node is well concerns nobody');
  api.remove('host-3');
  await told(one, 'a node is gone', ({ members }) => members.length === 0);
  await one.registry.leave('pods', 'host-3');
  t.same(one.events, []);
});

t.test('an annotation that says nothing readable: the node speaks for itself', async (t) => {
  const { api, location } = await cluster(t);
  const { registry } = await open(t, location);
  const node = api.nodes.get('host-2');
  if (node !== undefined) node.metadata.annotations['weft/pods'] = 'yes';
  t.same((await registry.read('pods')).members, [
    {
      host: 'host-2',
      addresses: ['192.0.2.2', '2001:db8::2'],
      subnets: ['10.244.2.0/24', 'fd00:244:0:2::/64'],
    },
  ]);
});

t.test('what is not there, and what is not for Kubernetes', async (t) => {
  const { api, location } = await cluster(t);
  const { registry } = await open(t, location);
  await t.rejects(registry.join(request(9)), {
    problem: 'invalid',
    message: /has no node host-9: wanted the name/,
  });
  api.add('host-4', [], ['192.0.2.4']);
  await t.rejects(registry.join(request(4)), {
    problem: 'exhausted',
    message: /has no podCIDRs, wanted one of pool 10\.244\.0\.0\/16/,
  });
  await t.rejects(registry.join(request(1, { pools: [{ prefix: '10.9.0.0/16', blockLength: 24 }] })), {
    problem: 'invalid',
    message: /node host-1 has 10\.244\.1\.0\/24, fd00:244:0:1::\/64, wanted one of pool 10\.9\.0\.0\/16/,
  });
  const own = { network: 'pods', host: 'host-1' };
  await t.rejects(registry.extend({ ...own, pool: POOL, count: 1 }), {
    problem: 'invalid',
    message: /L2 networks need a registry in a file or in etcd/,
  });
  await t.rejects(registry.giveBack({ ...own, subnets: [] }), {
    problem: 'invalid',
    message: /cannot give back/,
  });
  const endpoint = { address: '10.244.1.2', mac: '02:00:00:00:00:01', host: 'host-1' };
  await t.rejects(registry.publish('pods', 'host-1', [endpoint]), {
    problem: 'invalid',
    message: /containers cannot be registered/,
  });
  await registry.publish('pods', 'host-1', []);
  await api.stop();
  await t.rejects(registry.read('pods'), {
    problem: 'unreachable',
    message: /^Kubernetes at http:.* cannot be reached: .*ECONNREFUSED/,
  });
});

t.test('the watch goes on: ended by the server, forgotten history, an API that is away', async (t) => {
  const { api, location } = await cluster(t);
  const one = await open(t, location);
  follow(t, one);
  await one.registry.join(request(1));
  await told(one, 'one', ({ members }) => members.length === 1);
  await until('it watches', () => api.watches === 1);
  const lists = () => api.requests.filter((line) => line.includes('limit=')).length;
  const listed = lists();
  api.endWatches();
  await one.registry.join(request(2));
  await told(one, 'what came in between', ({ members }) => members.length === 2);
  t.equal(lists(), listed, 'without a new list');
  await until('it watches', () => api.watches === 1);

  api.forgottenBefore = 1_000_000;
  api.endWatches();
  api.remove('host-1');
  await told(one, 'the whole list', (state) => hosts(state).join() === 'host-2');
  api.forgottenBefore = 0;
  await one.registry.join(request(3));
  await told(one, 'and on', ({ members }) => members.length === 2);

  one.events.length = 0;
  await api.stop();
  await until('the outage is told', () => one.events.length === 1);
  api.remove('host-2');
  await api.start(t);
  await until('its end is told', () => one.events.length === 2);
  await told(one, 'all is seen', (state) => hosts(state).join() === 'host-3');
  t.match(one.events, [/^lost: Kubernetes at http/, /^found$/]);
});

t.test('TLS, tokens, and contexts', async (t) => {
  const folder = t.testdir({});
  const tls = await makeCertificates(folder);
  const read = (path: string) => readFileSync(path, 'utf8');
  const api = new KubernetesApi();
  api.token = 'not-to-be-seen';
  const server = await api.start(t, { cert: read(tls.cert), key: read(tls.key) });
  api.add('host-1', ['10.244.1.0/24'], ['192.0.2.1']);
  writeFileSync(join(folder, 'token'), 'wrong\n');
  const ca = Buffer.from(read(tls.ca)).toString('base64');
  const write = (name: string, text: string) => {
    writeFileSync(join(folder, name), text);
    return `kubernetes://${join(folder, name)}`;
  };
  const good = write(
    'good',
    kubeconfig(server, `, certificate-authority-data: ${ca}`, `{tokenFile: ${join(folder, 'token')}}`),
  );
  const { registry } = await open(t, good);
  await t.rejects(registry.join(request(1)), { problem: 'invalid', message: /refuses: 401 Unauthorized/ });
  writeFileSync(join(folder, 'token'), 'not-to-be-seen\n');
  t.equal((await registry.join(request(1))).host, 'host-1', 'the token is read anew');
  const inline = await open(
    t,
    write('inline', kubeconfig(server, ', certificate-authority: ca.pem', '{token: not-to-be-seen}')),
  );
  t.equal((await inline.registry.read('pods')).members.length, 1);
  const unknown = await open(t, write('unknown', kubeconfig(server, '', '{token: not-to-be-seen}')));
  await t.rejects(unknown.registry.read('pods'), { problem: 'unreachable', message: /certificate/ });

  for (const [location, message] of [
    ['kubernetes://', /this is no pod \(KUBERNETES_SERVICE_HOST is not set\)/],
    ['kubernetes://relative', /wanted kubernetes:\/\/\/PATH/],
    ['kubernetes:///nowhere/config', /kubeconfig \/nowhere\/config cannot be read: ENOENT/],
    [`${good}?context=other`, /clusters: wanted "nowhere", found lab/],
    [`${good}?context=none`, /contexts: wanted "none", found lab, other/],
    [write('exec', kubeconfig(server, '', '{exec: {command: login}}')), /found out by another program/],
    [write('text', 'just text'), /contexts: wanted "current-context", found none/],
    [write('broken', '{'), /is no YAML: /],
    [write('server', kubeconfig('ftp://x')), /found server "ftp:\/\/x", wanted https:\/\//],
  ] as const) {
    await t.rejects(open(t, location), { problem: 'invalid', message }, location);
  }
});
