import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { cachePath, readCached, writeCached } from '../../runtime/cache.ts';
import {
  addNetwork,
  checkNetwork,
  delNetwork,
  gcNetwork,
  pluginVersions,
  statusNetwork,
} from '../../runtime/chain.ts';
import { parseNetworkList } from '../../runtime/conflist.ts';
import { type Ground, makeGround } from './fake-plugins.ts';

const SANDBOX = {
  containerId: 'c1',
  ifname: 'eth0',
  netns: '/run/netns/c1',
  args: [
    ['IgnoreUnknown', '1'],
    ['IP', '10.1.0.2'],
  ] as const,
  capabilityArgs: { mac: '02:00:00:00:00:01', portMappings: [{ hostPort: 1 }] },
};
const ID = { containerId: 'c1', ifname: 'eth0' };

function network(change: object = {}) {
  return parseNetworkList(
    JSON.stringify({
      cniVersion: '1.1.0',
      name: 'net',
      plugins: [
        { type: 'first', capabilities: { mac: true, ips: true, portMappings: false }, keep: { me: 1 } },
        { type: 'second', capabilities: { portMappings: true } },
      ],
      ...change,
    }),
    'net.conflist',
  );
}

function ground(t: Parameters<typeof makeGround>[0]): Ground {
  const ground = makeGround(t);
  ground.plugin('first');
  ground.plugin(
    'second',
    `[ $CNI_COMMAND = ADD ] && echo '{"ips":[{"address":"10.1.0.2/16"}],"routes":[{"dst":"0.0.0.0/0"}]}'; true`,
  );
  return ground;
}

t.test('ADD hands each plugin its part, and the result of the one before', async (t) => {
  const g = ground(t);
  const result = await addNetwork(g.caller, await network(), SANDBOX);
  const last = {
    cniVersion: '1.1.0',
    ips: [{ address: '10.1.0.2/16' }],
    routes: [{ dst: '0.0.0.0/0' }],
  };
  t.same(result, last, 'a result without a version gets that of the list');
  const env = {
    CNI_ARGS: 'IgnoreUnknown=1;IP=10.1.0.2',
    CNI_COMMAND: 'ADD',
    CNI_CONTAINERID: 'c1',
    CNI_IFNAME: 'eth0',
    CNI_NETNS: '/run/netns/c1',
    CNI_PATH: g.bin,
  };
  t.same(g.calls(), [
    {
      plugin: 'first',
      command: 'ADD',
      env,
      conf: {
        type: 'first',
        keep: { me: 1 },
        name: 'net',
        cniVersion: '1.1.0',
        runtimeConfig: { mac: '02:00:00:00:00:01' },
      },
    },
    {
      plugin: 'second',
      command: 'ADD',
      env,
      conf: {
        type: 'second',
        name: 'net',
        cniVersion: '1.1.0',
        runtimeConfig: { portMappings: [{ hostPort: 1 }] },
        prevResult: { cniVersion: '1.0.0', ips: [{ address: '10.1.0.2/16' }] },
      },
    },
  ]);
  t.match(readCached(g.cache, 'net', ID), {
    network: 'net',
    netns: '/run/netns/c1',
    cniArgs: SANDBOX.args,
    capabilityArgs: SANDBOX.capabilityArgs,
    config: (await network()).json,
    result: last,
  });
});

t.test('what this process was called with does not reach its plugins', async (t) => {
  const g = ground(t);
  const ambient = { ...g.ambient, env: { ...g.ambient.env, CNI_ARGS: 'X=1', CNI_NETNS_OVERRIDE: '1' } };
  await addNetwork({ ambient, path: [g.bin] }, await network(), { ...SANDBOX, args: [] });
  t.equal(g.calls()[0]?.env.CNI_ARGS, '');
  t.equal(g.calls()[0]?.env.CNI_NETNS_OVERRIDE, '1', 'but what is no parameter does');
});

t.test('ADD stops at an error and undoes nothing', async (t) => {
  const g = ground(t);
  g.plugin('first', `echo '{"code":7,"msg":"bad bridge","details":"very"}'; exit 1`);
  await t.rejects(addNetwork(g.caller, await network(), SANDBOX), {
    code: 7,
    message: 'ADD by first: bad bridge',
    details: 'very',
  });
  t.equal(g.calls().length, 1);
  t.notOk(existsSync(cachePath(g.cache, 'net', ID)));
});

t.test('plugins that answer nonsense are named', async (t) => {
  const g = ground(t);
  const list = await network();
  g.plugin('first', 'echo hello');
  await t.rejects(addNetwork(g.caller, list, SANDBOX), { code: 6, message: /first.*"hello"/ });
  g.plugin('first', 'true');
  await t.rejects(addNetwork(g.caller, list, SANDBOX), { code: 6, message: /first.*nothing/ });
  g.plugin('first', 'exit 3');
  await t.rejects(addNetwork(g.caller, list, SANDBOX), { code: 105, message: /ended with status 3/ });
  g.plugin('first', 'kill -9 $$');
  await t.rejects(addNetwork(g.caller, list, SANDBOX), { code: 105, message: /ended with status 137/ });
  rmSync(join(g.bin, 'first'));
  await t.rejects(addNetwork(g.caller, list, SANDBOX), { code: 105, message: /first cannot be executed/ });
});

t.test('DEL runs in reverse with the cached result, and forgets it', async (t) => {
  const g = ground(t);
  const list = await network();
  await addNetwork(g.caller, list, SANDBOX);
  await delNetwork(g.caller, list, { ...SANDBOX, netns: '', args: [], capabilityArgs: {} });
  const [, , second, first] = g.calls();
  t.match(
    [second, first],
    [
      { plugin: 'second', command: 'DEL', conf: { prevResult: { routes: [{ dst: '0.0.0.0/0' }] } } },
      { plugin: 'first', command: 'DEL', conf: { prevResult: { routes: [{ dst: '0.0.0.0/0' }] } } },
    ],
  );
  t.equal(first?.env.CNI_NETNS, '');
  t.equal(first?.env.CNI_ARGS, 'IgnoreUnknown=1;IP=10.1.0.2', 'arguments of ADD are in the cache');
  t.same(first?.conf.runtimeConfig, { mac: '02:00:00:00:00:01' }, 'so are capability arguments');
  t.notOk(existsSync(cachePath(g.cache, 'net', ID)));
  await delNetwork(g.caller, list, SANDBOX);
  t.notOk(g.calls()[4]?.conf.prevResult, 'and again, with nothing to go by');
});

t.test('DEL uses the configuration of ADD, even when the file has changed', async (t) => {
  const g = ground(t);
  await addNetwork(g.caller, await network(), SANDBOX);
  await delNetwork(g.caller, await network({ plugins: [{ type: 'other' }] }), SANDBOX);
  t.same(
    g.calls().map(({ plugin, command }) => `${command} ${plugin}`),
    ['ADD first', 'ADD second', 'DEL second', 'DEL first'],
  );
});

t.test('DEL stops at an error and keeps the result for the next try', async (t) => {
  const g = ground(t);
  const list = await network();
  await addNetwork(g.caller, list, SANDBOX);
  g.plugin('second', `echo '{"code":11,"msg":"busy"}'; exit 1`);
  await t.rejects(delNetwork(g.caller, list, SANDBOX), { code: 11, message: 'DEL by second: busy' });
  t.equal(g.calls().length, 3);
  t.ok(existsSync(cachePath(g.cache, 'net', ID)));
});

t.test('DEL before 0.4.0 has no previous result', async (t) => {
  const g = ground(t);
  const list = await network({ cniVersion: '0.3.1' });
  await addNetwork(g.caller, list, SANDBOX);
  await delNetwork(g.caller, list, SANDBOX);
  t.notOk(g.calls()[2]?.conf.prevResult);
});

t.test('DEL goes on without a result that cannot be read', async (t) => {
  const g = ground(t);
  const list = await network();
  await addNetwork(g.caller, list, SANDBOX);
  writeFileSync(cachePath(g.cache, 'net', ID), '{"kind":');
  await delNetwork(g.caller, list, SANDBOX);
  t.match(g.logged.join(), /goes on without a previous result/);
  t.notOk(existsSync(cachePath(g.cache, 'net', ID)));
});

t.test('a cached result is given in the version of the list', async (t) => {
  const g = ground(t);
  writeCached(g.cache, {
    ...ID,
    network: 'net',
    cniArgs: [],
    capabilityArgs: {},
    result: { cniVersion: '0.4.0', ips: [{ version: '4', address: '10.1.0.2/16' }] },
  });
  await delNetwork(g.caller, await network(), SANDBOX);
  t.same(g.calls()[0]?.conf.prevResult, { cniVersion: '1.1.0', ips: [{ address: '10.1.0.2/16' }] });
});

t.test('CHECK runs in order with the cached result', async (t) => {
  const g = ground(t);
  const list = await network();
  await t.rejects(checkNetwork(g.caller, list, SANDBOX), {
    code: 3,
    message: /is not attached to network net/,
  });
  await addNetwork(g.caller, list, SANDBOX);
  t.equal(await checkNetwork(g.caller, list, SANDBOX), true);
  const checks = g.calls().slice(2);
  t.match(checks, [
    { plugin: 'first', command: 'CHECK', conf: { prevResult: { routes: [{ dst: '0.0.0.0/0' }] } } },
    { plugin: 'second', command: 'CHECK', conf: { prevResult: { routes: [{ dst: '0.0.0.0/0' }] } } },
  ]);
});

t.test('CHECK is not asked when it is disabled, nor before 0.4.0', async (t) => {
  const g = ground(t);
  t.equal(await checkNetwork(g.caller, await network({ disableCheck: 'true' }), SANDBOX), false);
  await t.rejects(checkNetwork(g.caller, await network({ cniVersion: '0.3.1' }), SANDBOX), {
    code: 1,
    message: 'CHECK needs cniVersion 0.4.0, network net has 0.3.1',
  });
  t.same(g.calls(), []);
});

t.test('GC removes what is not valid, then asks all plugins', async (t) => {
  const g = ground(t);
  const list = await network();
  await addNetwork(g.caller, list, SANDBOX);
  await addNetwork(g.caller, list, { ...SANDBOX, containerId: 'c2' });
  const gone = await gcNetwork(g.caller, list, [{ containerId: 'c2', ifname: 'eth0' }]);
  t.same(gone, [ID]);
  const calls = g.calls().slice(4);
  t.same(
    calls.map(({ plugin, command, env }) => [command, plugin, env.CNI_CONTAINERID, env.CNI_NETNS]),
    [
      ['DEL', 'second', 'c1', '/run/netns/c1'],
      ['DEL', 'first', 'c1', '/run/netns/c1'],
      ['GC', 'first', undefined, undefined],
      ['GC', 'second', undefined, undefined],
    ],
  );
  const attachments = [{ containerID: 'c2', ifname: 'eth0' }];
  t.match(calls[2]?.conf, {
    'cni.dev/valid-attachments': attachments,
    'cni.dev/attachments': attachments,
  });
});

t.test('GC goes on after errors and tells all', async (t) => {
  const g = ground(t);
  const list = await network();
  await addNetwork(g.caller, list, SANDBOX);
  g.plugin('first', `echo '{"code":100,"msg":"no first"}'; exit 1`);
  g.plugin('second', `echo '{"code":101,"msg":"no second"}'; exit 1`);
  await t.rejects(gcNetwork(g.caller, list, []), {
    code: 101,
    message: 'DEL by second: no second; GC by first: no first; GC by second: no second',
  });
});

t.test('GC below 1.1.0 is only DEL; with disableGC it is nothing', async (t) => {
  const g = ground(t);
  const old = await network({ cniVersion: '1.0.0' });
  await addNetwork(g.caller, old, SANDBOX);
  t.same(await gcNetwork(g.caller, await network({ disableGC: true }), []), []);
  t.equal(g.calls().length, 2);
  t.same(await gcNetwork(g.caller, old, []), [ID]);
  t.same(
    g.calls().map(({ command }) => command),
    ['ADD', 'ADD', 'DEL', 'DEL'],
  );
});

t.test('STATUS asks all plugins', async (t) => {
  const g = ground(t);
  t.equal(await statusNetwork(g.caller, await network()), true);
  t.equal(await statusNetwork(g.caller, await network({ cniVersion: '1.0.0' })), false);
  g.plugin('first', `echo '{"code":50,"msg":"no address left"}'; exit 1`);
  await t.rejects(statusNetwork(g.caller, await network()), {
    code: 50,
    message: 'STATUS by first: no address left',
  });
  t.equal(g.calls().filter(({ plugin }) => plugin === 'second').length, 2);
});

t.test('VERSION asks all plugins', async (t) => {
  const g = ground(t);
  g.plugin('second', `echo '{"cniVersion":"0.1.0"}'`);
  t.same(await pluginVersions(g.caller, await network()), [
    { type: 'first', supported: ['0.4.0', '1.0.0', '1.1.0'] },
    { type: 'second', supported: ['0.1.0'] },
  ]);
});

t.test('bad names and versions are refused before anything runs', async (t) => {
  const g = ground(t);
  const list = await network();
  for (const bad of [
    { containerId: '../x' },
    { containerId: '' },
    { ifname: 'a/b' },
    { ifname: '..' },
    { ifname: 'sixteen-letters-' },
  ]) {
    const operations: ((...args: Parameters<typeof addNetwork>) => Promise<unknown>)[] = [
      addNetwork,
      checkNetwork,
      delNetwork,
    ];
    for (const operation of operations) {
      await t.rejects(operation(g.caller, list, { ...SANDBOX, ...bad }), { code: 4 }, JSON.stringify(bad));
    }
  }
  await t.rejects(addNetwork(g.caller, await network({ cniVersion: '7.0.0' }), SANDBOX), { code: 1 });
  t.same(g.calls(), []);
});

t.test('no two operations at once on one container, and GC alone', async (t) => {
  const g = ground(t);
  const trace = join(g.root, 'trace');
  const script = `
    echo "begin $CNI_COMMAND" >>${trace}
    sleep 0.1
    echo "end $CNI_COMMAND" >>${trace}
    [ $CNI_COMMAND = ADD ] && echo '{}'; true`;
  g.plugin('first', script);
  const list = await network({ plugins: [{ type: 'first' }] });
  await Promise.all([
    addNetwork(g.caller, list, SANDBOX),
    addNetwork(g.caller, list, { ...SANDBOX, ifname: 'eth1' }),
    gcNetwork(g.caller, list, [ID, { ...ID, ifname: 'eth1' }]),
    delNetwork(g.caller, list, { ...SANDBOX, ifname: 'eth2' }),
  ]);
  const lines = readFileSync(trace, 'utf8').trim().split('\n');
  t.equal(lines.length, 8);
  for (let i = 0; i < lines.length; i += 2) {
    t.equal(lines[i + 1], lines[i]?.replace('begin', 'end'), 'each ends before the next begins');
  }
});

t.test('a plugin that is being written is tried again', async (t) => {
  const g = ground(t);
  let busy = 3;
  const ambient: Ground['ambient'] = {
    ...g.ambient,
    run: async (file, args, options) => {
      if (busy-- > 0) {
        throw Object.assign(new Error('cannot start'), { cause: { code: 'ETXTBSY' } });
      }
      return await g.ambient.run(file, args, options);
    },
  };
  await addNetwork({ ambient, path: [g.bin] }, await network(), SANDBOX);
  t.equal(g.calls().length, 2);
});
