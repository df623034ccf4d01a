/** Bad days of hosts whose agents join a network: what runs keeps its network, what is wrong has words. */
import { appendFileSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { installConflist } from '../support/conflist.ts';
import { execIn, ip, ping, SILENCE } from '../support/host.ts';
import { weftIsMissing } from '../support/plugins.ts';
import { until } from '../support/until.ts';
import { BIN, conflist, type LabHost, makeLab, members, reach } from './cluster-lab.ts';

const skip = await weftIsMissing();
const VXLAN = conflist({ type: 'vxlan', vni: 42, device: 'weft42' });

/** What STATUS says, once it fits. */
const statusSays = (host: LabHost, pattern: RegExp, code: number) =>
  until(`STATUS of ${host.node} says ${pattern}`, async () => {
    const asked = await host.exec(join(BIN, 'weft'), ['net', 'status', 'podnet', '--json'], {
      mayFail: true,
    });
    const answer = JSON.parse(asked.stdout);
    if (answer.code !== code || !pattern.test(answer.msg)) throw new Error(asked.stdout);
    return answer.msg as string;
  });

const isReady = (host: LabHost) =>
  until(`${host.node} is ready`, async () => /is ready/.test(await host.weft('net', 'status', 'podnet')));

t.test(
  'an agent that is killed breaks nothing, and the next takes up again without the registry',
  { skip },
  async (t) => {
    const lab = await makeLab(t);
    const [a, b] = await members(lab, 2, VXLAN);
    if (!a || !b) return;
    const [one, two] = await Promise.all([a.add(), b.add()]);
    await reach(one, two);
    const agent = (await a.exec('cat', [join(a.root, 'agent.pid')])).stdout;
    await a.exec('kill', ['-KILL', agent]);
    t.ok(await ping(one.netns, two.v4));
    const third = await a.add();
    await reach(third, two);
    t.match(JSON.parse(await a.weft('network', 'list', '--json')), [
      { registry: { error: 'no agent runs' } },
    ]);

    // What it knew is lost: the registry knows, and the containers' own routes are no network of others.
    rmSync(join(a.dirs.cache, 'weft', 'networks'), { recursive: true });
    const forgetful = await a.agent({ name: 'forgetful' });
    await isReady(a);
    await reach(one, two);
    await forgetful.signal('KILL');
    await forgetful.ended();

    // Nobody can read or write the registry now, and what was in the kernel is gone, as after a reboot.
    renameSync(lab.registry, `${lab.registry}.away`);
    writeFileSync(lab.registry, 'networks: [not what it was\n');
    await a.exec('ip', ['link', 'del', 'weft42']);
    t.notOk(await ping(one.netns, two.v4, SILENCE));
    await a.agent({ name: 'next' });
    await reach(one, two);
    t.match(await statusSays(a, /registry\.yaml/, 50), /registry\.yaml/);
    const shown = await a.weft('network', 'show', 'podnet');
    t.match(shown, /problem: .*registry\.yaml/);
    t.match(shown, /host-2 +192\.0\.2\.2 2001:db8::2 .* ms$/m, 'the other host answers');
    renameSync(`${lab.registry}.away`, lab.registry);
    await isReady(a);

    await a.exec('ip', ['link', 'del', 'weft42']);
    await reach(one, two);
    t.ok((await a.network()).corrections > 0);
  },
);

t.test('hosts come, change their address, and go', { skip }, async (t) => {
  const lab = await makeLab(t);
  const [a, b] = await members(lab, 2, VXLAN);
  if (!a || !b) return;
  const c = await lab.host(3);
  await installConflist(c, VXLAN);
  await c.agent();
  await isReady(c);
  const [one, two, three] = await Promise.all([a.add(), b.add(), c.add()]);
  await reach(one, three);
  await reach(two, three);

  const moves = [
    'addr del 192.0.2.3/24 dev eth0',
    'addr add 192.0.2.33/24 dev eth0',
    'route add default via 192.0.2.254',
  ];
  await c.exec('ip', ['-batch', '-'], { input: moves.join('\n') });
  await until('the others know', async () =>
    (await a.network()).members.some(({ addresses }) => addresses.includes('192.0.2.33')),
  );
  await reach(one, three);

  const leave = () => c.exec(join(BIN, 'weft'), ['network', 'leave', 'podnet'], { mayFail: true });
  t.match((await leave()).stderr, /10-podnet\.conflist has network podnet.*remove the file first/);
  rmSync(join(c.dirs.conf, '10-podnet.conflist'));
  t.match((await leave()).stderr, /hold 2 addresses of network podnet: remove them first/);
  t.ok(await ping(one.netns, three.v4), 'nothing has changed');
  await c.weft('net', 'del', 'podnet', three.netns);
  const tables = async () => (await c.exec('nft', ['list', 'tables'])).stdout;
  t.match(await tables(), /inet weft/);
  t.same(await leave(), { status: 0, stdout: 'this host is no member of podnet any more', stderr: '' });
  t.same(await ip(c.netns, 'link', 'show', 'type', 'vxlan'), []);
  t.equal(await tables(), '', 'no rule of the masquerade stays');
  t.same(
    (await ip(c.netns, 'route')).filter(({ dst }) => dst.startsWith('10.244.')),
    [],
  );
  await until('the others have forgotten it', async () => (await a.network()).members.length === 2);
  const routes = async () => (await ip(a.netns, 'route', 'show', 'dev', 'weft42')).length;
  await until('its route is gone', async () => (await routes()) === 1);
  await reach(one, two);
  t.same(
    (await ip(c.netns, 'link')).filter(({ ifname }) => /weft/.test(ifname)).map(({ ifname }) => ifname),
    [],
  );

  // A host that is gone for good, without its agent.
  const struck = ['network', 'leave', 'podnet', '--registry', lab.registry, '--node', 'host-2'];
  const refused = await a.exec(join(BIN, 'weft'), struck, { mayFail: true });
  t.match(refused, {
    status: 1,
    stderr: /host-2 is another host, with 192\.0\.2\.2 .*--force strikes it out/,
  });
});

t.test('what cannot be is refused by name', { skip }, async (t) => {
  const lab = await makeLab(t);
  const [a] = await members(lab, 1, VXLAN);
  const [twin, b] = [await lab.host(2), await lab.host(3)];
  if (!a) return;

  // Another machine that was given the same name.
  await installConflist(twin, VXLAN);
  const second = await twin.agent({ node: 'host-1' });
  await statusSays(
    twin,
    /host named host-1 is registered with 192\.0\.2\.1.*give one of them another name/,
    50,
  );
  // It would take the name as soon as that is free.
  await second.signal('TERM');
  await second.ended();
  await isReady(a);

  // A network of the host's own where the pool is.
  await b.exec('ip', ['route', 'add', '10.244.7.0/24', 'via', '192.0.2.254']);
  await installConflist(b, VXLAN);
  await b.agent();
  await statusSays(
    b,
    /pool 10\.244\.0\.0\/16.* overlaps route 10\.244\.7\.0\/24 via 192\.0\.2\.254 dev eth0/,
    50,
  );
  t.match(await b.exec(join(BIN, 'weft'), ['status'], { mayFail: true }), {
    status: 1,
    stdout: /problem: network podnet: the network's pool .* overlaps/,
  });
  const { netns } = await b.container();
  const added = await b.exec(join(BIN, 'weft'), ['net', 'add', 'podnet', netns, '--json'], { mayFail: true });
  t.match(JSON.parse(added.stdout), { code: 11, msg: /overlaps route/ });
  // Somebody else's tunnel with the same VNI.
  const theirs = ['type', 'vxlan', 'id', '42', 'dev', 'eth0', 'dstport', '4789'];
  await b.exec('ip', ['link', 'add', 'theirs', ...theirs]);
  await b.exec('ip', ['route', 'del', '10.244.7.0/24']);
  await statusSays(b, /VNI 42 on UDP port 4789 is in use by theirs/, 51);
  await b.exec('ip', ['link', 'del', 'theirs']);
  await isReady(b);

  // Another VNI while a container hangs on this one.
  const one = await a.add();
  const two = await b.add();
  await reach(one, two);
  await installConflist(a, conflist({ type: 'vxlan', vni: 43, device: 'weft42' }));
  await statusSays(
    a,
    /changes vni from 42 to 43 and bridge from weftbr\.42 to weftbr\.43: not done while containers here hold 2 addresses/,
    50,
  );
  await reach(one, two);
  t.match(await a.weft('network', 'show', 'podnet'), /VNI 42/);
  // As in the middle of a DEL: the last address is free, the link is still there, and with it the bridge.
  rmSync(join(a.dirs.data, 'podnet'), { recursive: true });
  await statusSays(a, /overlaps route 10\.244\.\d+\.0\/24 dev weftbr\.42/, 50);
  await a.weft('net', 'del', 'podnet', one.netns);
  await until('it is done', async () => {
    const [{ linkinfo }] = await ip(a.netns, '-d', 'link', 'show', 'weft42');
    return linkinfo.info_data.id === 43;
  });

  // A file that cannot be understood is no reason to forget what it said before.
  const file = join(b.dirs.conf, '10-podnet.conflist');
  const text = readFileSync(file, 'utf8');
  appendFileSync(file, '}');
  await until('the agent says so', async () =>
    /cannot be understood/.test(readFileSync(join(b.root, 'agent.log'), 'utf8')),
  );
  t.equal((await b.network()).file, file);
  writeFileSync(file, text);
  await until('the agent says so', async () =>
    /understood again/.test(readFileSync(join(b.root, 'agent.log'), 'utf8')),
  );
  t.ok((await execIn(b.netns, 'ip', ['link', 'show', 'weft42'])).stdout);
});
