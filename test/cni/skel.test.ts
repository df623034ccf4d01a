import t from 'tap';
import { CniError } from '../../cni/errors.ts';
import { runPlugin } from '../../cni/skel.ts';
import { SUPPORTED_VERSIONS } from '../../cni/types.ts';
import { baseConf, call, fakeAmbient, fullEnv, samplePlugin, sampleResult } from './support.ts';

t.test('an unset CNI_COMMAND prints what the plugin is, and does not read the input', async (t) => {
  const ambient = fakeAmbient({}, () => new Promise(() => {}));
  const outcome = await runPlugin(samplePlugin(), ambient);
  t.equal(outcome.status, 0);
  t.equal(outcome.stdout, '');
  t.equal(
    outcome.stderr,
    'CNI plugin sample (weft)\nCNI protocol versions supported: 0.1.0, 0.2.0, 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0\n',
  );
});

t.test('VERSION answers with every version, whatever its input', async (t) => {
  for (const [input, cniVersion] of [
    ['', '1.1.0'],
    ['{"cniVersion":"0.4.0"}', '0.4.0'],
    ['{"cniVersion":"9.9.9"}', '1.1.0'],
    ['not JSON', '1.1.0'],
  ] as const) {
    const answer = await call('VERSION', {}, { input, env: { CNI_PATH: undefined, CNI_NETNS: undefined } });
    t.equal(answer.status, 0, input);
    t.strictSame(answer.json, { cniVersion, supportedVersions: [...SUPPORTED_VERSIONS] }, input);
  }
});

t.test('each command demands its variables and names all that are missing in one message', async (t) => {
  const nothing = {
    CNI_CONTAINERID: undefined,
    CNI_NETNS: undefined,
    CNI_IFNAME: undefined,
    CNI_PATH: undefined,
  };
  for (const [command, wanted] of [
    ['ADD', ['CNI_CONTAINERID', 'CNI_NETNS', 'CNI_IFNAME', 'CNI_PATH']],
    ['CHECK', ['CNI_CONTAINERID', 'CNI_NETNS', 'CNI_IFNAME', 'CNI_PATH']],
    ['DEL', ['CNI_CONTAINERID', 'CNI_IFNAME', 'CNI_PATH']],
    ['GC', ['CNI_PATH']],
    ['STATUS', []],
  ] as const) {
    const answer = await call(command, {}, { env: nothing });
    const missing = wanted.map((name) => `${name} is missing`);
    if (missing.length === 0) t.equal(answer.status, 0, command);
    else {
      t.match(answer, { status: 1, json: { code: 4, cniVersion: '1.1.0' } }, command);
      t.equal(answer.json.msg, `environment of ${command}: ${missing.join('; ')}`);
    }
    t.equal(answer.calls.length, missing.length === 0 ? 1 : 0);
  }
});

t.test("an unknown command is error 4 in the configuration's version", async (t) => {
  const answer = await call('add', { cniVersion: '0.4.0' });
  t.match(answer, { status: 1, json: { code: 4, cniVersion: '0.4.0', msg: /CNI_COMMAND is "add"/ } });
});

t.test('container id and interface name lead nowhere else', async (t) => {
  for (const id of ['../x', 'a/b', '.hidden', '-x', 'a b', 'é', 'a\n', '']) {
    const answer = await call('ADD', {}, { env: { CNI_CONTAINERID: id } });
    t.match(answer, { status: 1, json: { code: 4, msg: /CNI_CONTAINERID/ } }, JSON.stringify(id));
  }
  for (const id of ['a', '0', 'A_b.c-d', 'x'.repeat(200)]) {
    t.equal((await call('ADD', {}, { env: { CNI_CONTAINERID: id } })).status, 0, id);
  }
  for (const name of [
    '.',
    '..',
    'a/b',
    'a:b',
    'a b',
    'a\tb',
    'eth%d',
    'x'.repeat(16),
    'ü'.repeat(8),
    'a\0',
  ]) {
    const answer = await call('DEL', {}, { env: { CNI_IFNAME: name } });
    t.match(answer, { status: 1, json: { code: 4, msg: /CNI_IFNAME/ } }, JSON.stringify(name));
  }
  for (const name of ['e', '...', 'x'.repeat(15), 'eth0.100']) {
    t.equal((await call('DEL', {}, { env: { CNI_IFNAME: name } })).status, 0, name);
  }
  const both = await call('ADD', {}, { env: { CNI_CONTAINERID: '..', CNI_IFNAME: '..', CNI_ARGS: 'x' } });
  t.match(both.json.msg, /CNI_CONTAINERID.*CNI_IFNAME.*CNI_ARGS/);
});

t.test('what is no configuration is refused with its code', async (t) => {
  const deep = `${'{"a":'.repeat(100)}1${'}'.repeat(100)}`;
  for (const [input, code, msg] of [
    ['', 6, /empty/],
    ['  \n', 6, /empty/],
    ['{', 6, /not JSON/],
    ['[]', 6, /JSON object/],
    ['null', 6, /JSON object/],
    ['"x"', 6, /JSON object/],
    [deep, 6, /nested deeper/],
    ['['.repeat(1_000_000), 6, /not JSON/],
    [`{"a":${'['.repeat(100_000)}${']'.repeat(100_000)}}`, 6, /nested deeper/],
    [' '.repeat(16 * 1024 * 1024 + 1), 6, /at most/],
    ['{"cniVersion":1}', 6, /cniVersion: found 1/],
    ['{"cniVersion":"1.2.0","name":"n","type":"t"}', 1, /"1\.2\.0".*wanted one of 0\.1\.0/],
    ['{"cniVersion":"1.1.0"}', 7, /name: missing.*type: missing/],
    ['{"cniVersion":"1.1.0","name":"../etc","type":"t"}', 7, /name: found "\.\.\/etc"/],
    ['{"cniVersion":"1.1.0","name":"a/b","type":"t"}', 7, /name/],
    ['{"cniVersion":"1.1.0","name":5,"type":"t"}', 7, /name: found 5/],
  ] as const) {
    for (const command of ['ADD', 'DEL']) {
      const answer = await call(command, {}, { input });
      t.match(answer, { status: 1, json: { code, msg } }, input.slice(0, 60));
      t.equal(answer.calls.length, 0);
    }
  }
});

t.test('an input that cannot be read is error 5', async (t) => {
  const ambient = fakeAmbient(fullEnv('ADD'), () => Promise.reject(new Error('EIO: i/o error\n    at x')));
  const { stdout, status } = await runPlugin(samplePlugin(), ambient);
  t.equal(status, 1);
  t.strictSame(JSON.parse(stdout), {
    cniVersion: '1.1.0',
    code: 5,
    msg: 'standard input cannot be read',
    details: 'EIO: i/o error',
  });
});

t.test('the result is in exactly the version of the configuration', async (t) => {
  for (const cniVersion of SUPPORTED_VERSIONS) {
    t.equal((await call('ADD', { cniVersion })).json.cniVersion, cniVersion);
  }
  const silent = await call('ADD', {}, { input: '{"name":"n","type":"t"}' });
  t.match(silent.json, { cniVersion: '0.1.0', ip4: { ip: '10.1.0.2/24' } });
  t.equal(silent.calls[0]?.request.config.cniVersion, '0.1.0');
});

t.test('commands need the version that brought them', async (t) => {
  for (const [command, since] of [
    ['CHECK', '0.4.0'],
    ['GC', '1.1.0'],
    ['STATUS', '1.1.0'],
  ] as const) {
    for (const cniVersion of SUPPORTED_VERSIONS) {
      const answer = await call(command, { cniVersion, 'cni.dev/valid-attachments': [] });
      const allowed = SUPPORTED_VERSIONS.indexOf(cniVersion) >= SUPPORTED_VERSIONS.indexOf(since);
      t.equal(answer.status, allowed ? 0 : 1, `${command} ${cniVersion}`);
      if (!allowed)
        t.match(answer.json, { code: 1, cniVersion, msg: new RegExp(since.replaceAll('.', '\\.')) });
      t.equal(answer.stdout === '', allowed);
    }
  }
});

t.test('a request carries what the verbs need', async (t) => {
  const answer = await call(
    'ADD',
    { bridge: 'br0' },
    { env: { CNI_ARGS: 'MAC=02:00:00:00:00:01;K8S_POD_NAME=p' } },
  );
  const { request } = answer.calls[0] ?? {};
  t.match(request, {
    attachment: { network: 'net', containerId: 'c1', ifname: 'eth0', netns: '/run/netns/a' },
    cniVersion: '1.1.0',
    path: ['/opt/cni/bin', '/usr/lib/cni'],
    config: { bridge: 'br0', name: 'net' },
  });
  t.strictSame({ ...request.args }, { MAC: '02:00:00:00:00:01', K8S_POD_NAME: 'p' });
  t.equal(request.input, JSON.stringify({ ...baseConf, bridge: 'br0' }));
});

t.test('CNI_ARGS: unknown keys, and what overrides them', async (t) => {
  const add = (args: string, conf: object = {}) => call('ADD', conf, { env: { CNI_ARGS: args } });
  t.match((await add('FOO=1')).json, { code: 4, msg: /CNI_ARGS: unknown key FOO.*known are MAC, IP/ });
  for (const ignore of ['1', 'true', 'TRUE']) {
    for (const args of [`FOO=1;IgnoreUnknown=${ignore}`, `IgnoreUnknown=${ignore};FOO=1;`]) {
      const answer = await add(args);
      t.equal(answer.status, 0, args);
      t.strictSame({ ...answer.calls[0]?.request.args }, { FOO: '1' });
    }
  }
  t.match((await add('FOO=1;IgnoreUnknown=0')).json, { code: 4 });
  t.match((await add('IgnoreUnknown=maybe')).json, { code: 4, msg: /IgnoreUnknown=maybe/ });
  t.match((await add('IgnoreUnknown=1;novalue')).json, { code: 4, msg: /"novalue" is no KEY=VALUE/ });
  t.equal((await add('MAC=a=b')).calls[0]?.request.args.MAC, 'a=b');
  const taken = await add('MAC=a;IgnoreUnknown=1', { args: { cni: { mac: 'b', ip: 'c', other: 'd' } } });
  t.strictSame({ ...taken.calls[0]?.request.args }, { MAC: 'b', IP: 'c' });
  for (const command of ['DEL', 'GC', 'STATUS']) {
    const conf = { 'cni.dev/valid-attachments': [] };
    const answer = await call(command, conf, { env: { CNI_ARGS: 'FOO=1;x' } });
    t.equal(answer.status, 0, `${command} does not fail over an argument`);
    t.equal(answer.logs.length, 2);
  }
});

t.test("the plugin's own namespace is error 8 before anything is done, unless it is meant", async (t) => {
  const look = () => ({ state: 'own' }) as const;
  for (const command of ['ADD', 'CHECK', 'DEL']) {
    const refused = await call(command, {}, { look });
    t.match(refused, { status: 1, json: { code: 8, msg: /plugin's own/ }, calls: { length: 0 } }, command);
    for (const override of ['1', 'true', 'True']) {
      const meant = await call(command, {}, { look, env: { CNI_NETNS_OVERRIDE: override } });
      t.equal(meant.status, 0);
      t.equal(meant.calls[0]?.request.attachment.netns, '/run/netns/a');
    }
    t.equal((await call(command, {}, { look, env: { CNI_NETNS_OVERRIDE: '0' } })).json.code, 8);
  }
});

t.test('a namespace that is gone, or none, is error 8 but for DEL', async (t) => {
  for (const state of ['gone', 'foreign'] as const) {
    const look = () => ({ state, details: 'ENOENT' });
    for (const command of ['ADD', 'CHECK']) {
      const answer = await call(command, {}, { look });
      t.match(answer, { status: 1, json: { code: 8, details: 'ENOENT', msg: /\/run\/netns\/a/ } });
      t.equal(answer.calls.length, 0);
    }
    const del = await call('DEL', {}, { look });
    t.equal(del.status, 0);
    t.equal(del.calls[0]?.request.attachment.netns, '');
  }
  const look = () => t.fail('an empty path is not looked at') as never;
  t.equal((await call('DEL', {}, { look, env: { CNI_NETNS: '' } })).calls[0]?.request.attachment.netns, '');
});

t.test('every field at fault is in one error 7', async (t) => {
  const conf = { mtu: 'abc', isGateway: 1, runtimeConfig: { portMappings: [{ HostPort: 'x' }] } };
  const answer = await call('ADD', conf);
  t.equal(answer.json.code, 7);
  for (const part of [
    'mtu: found "abc", wanted an integer from 68 to 65535',
    'isGateway: found 1, wanted true or false',
    'runtimeConfig.portMappings[0].hostPort: found "x", wanted an integer from 0 to 65535',
    'runtimeConfig.portMappings[0].containerPort: missing, wanted an integer',
  ]) {
    t.ok(answer.json.msg.includes(part), part);
  }
  t.equal(answer.calls.length, 0);
});

t.test('DEL and GC leave an odd option out instead of failing, and say so in the log', async (t) => {
  const conf = {
    mtu: 'abc',
    bridge: 'br0',
    tags: ['a', 5, 'b'],
    routes: [{ gw: '10.0.0.1' }, { dst: '10.0.0.0/8', mtu: -1 }],
    prevResult: { cniVersion: '7.0.0' },
    'cni.dev/valid-attachments': [],
  };
  for (const command of ['DEL', 'GC']) {
    const answer = await call(command, conf);
    t.equal(answer.status, 0, answer.stdout);
    const { config, prevResult } = answer.calls[0]?.request ?? {};
    t.equal(prevResult, undefined);
    t.strictSame(
      { ...config, prevResult: undefined },
      {
        ...baseConf,
        bridge: 'br0',
        tags: ['a', 'b'],
        routes: [{ dst: '10.0.0.0/8' }],
        prevResult: undefined,
        'cni.dev/valid-attachments': [],
      },
    );
    t.ok(answer.logs.some((line) => line.includes('mtu: found "abc"')));
  }
});

t.test('validate runs for ADD, CHECK and STATUS only', async (t) => {
  const validate = () => {
    throw new CniError(7, 'never right');
  };
  for (const [command, code] of [
    ['ADD', 7],
    ['CHECK', 7],
    ['STATUS', 7],
    ['DEL', undefined],
    ['GC', undefined],
  ] as const) {
    const answer = await call(command, {}, { plugin: samplePlugin({ validate }) });
    t.equal(answer.json?.code, code, command);
  }
});

t.test("keys are read in Go's spelling, null is absent, __proto__ does nothing", async (t) => {
  const input = `{"CNIVersion":"1.0.0","Name":"n","TYPE":"t","IsGateway":true,"mtu":null,
    "__proto__":{"bridge":"evil","polluted":1},"constructor":{"prototype":{"polluted":1}},
    "runtimeConfig":{"PortMappings":[{"HostPort":1,"ContainerPort":2,"HostIP":null}],
    "dns":{"Servers":["1.1.1.1"],"Options":null}}}`;
  const answer = await call('ADD', {}, { input });
  t.equal(answer.status, 0, answer.stdout);
  const { config } = answer.calls[0]?.request ?? {};
  t.match(config, {
    cniVersion: '1.0.0',
    isGateway: true,
    runtimeConfig: { portMappings: [{ hostPort: 1, containerPort: 2 }], dns: { servers: ['1.1.1.1'] } },
  });
  t.notOk('mtu' in config);
  t.equal(config.bridge, undefined);
  t.equal(Object.getPrototypeOf(config), Object.prototype);
  t.equal(({} as Record<string, unknown>).polluted, undefined);
});

t.test("prevResult is read from its own version, else from the configuration's", async (t) => {
  const old = { ip4: { ip: '10.0.0.2/24', gateway: '10.0.0.1', routes: [{ dst: '0.0.0.0/0' }] } };
  const newest = {
    interfaces: [],
    ips: [{ address: '10.0.0.2/24', gateway: '10.0.0.1' }],
    routes: [{ dst: '0.0.0.0/0' }],
    dns: {},
  };
  const own = await call('ADD', { prevResult: { cniVersion: '0.2.0', ...old } });
  t.strictSame(own.calls[0]?.request.prevResult, newest);
  t.match(own.json, { cniVersion: '1.1.0', ips: [{ address: '10.0.0.2/24' }] });
  const inherited = await call('ADD', { cniVersion: '0.2.0', prevResult: old });
  t.strictSame(inherited.calls[0]?.request.prevResult, newest);
  t.strictSame(inherited.json, { cniVersion: '0.2.0', ...old });
  const bad = await call('CHECK', { prevResult: { ips: [{ address: 5 }] } });
  t.match(bad.json, {
    code: 7,
    msg: 'prevResult.ips[0].address: found 5, wanted an address with prefix length',
  });
  t.match((await call('ADD', { prevResult: { cniVersion: '7.0.0' } })).json, { code: 1, msg: /prevResult/ });
  t.equal((await call('ADD')).calls[0]?.request.prevResult, undefined);
});

t.test('GC: an absent list does nothing, an empty one means that all is stale', async (t) => {
  const gc = (conf: object) => call('GC', conf);
  t.match(await gc({}), { status: 0, stdout: '', calls: { length: 0 } });
  t.match(await gc({ 'cni.dev/valid-attachments': null }), { status: 0, calls: { length: 0 } });
  t.strictSame((await gc({ 'cni.dev/valid-attachments': [] })).calls[0]?.request.valid, []);
  const list = [{ containerID: 'a', ifname: 'eth0', more: 1 }];
  const valid = [{ containerId: 'a', ifname: 'eth0' }];
  t.strictSame((await gc({ 'cni.dev/valid-attachments': list })).calls[0]?.request.valid, valid);
  t.strictSame((await gc({ 'cni.dev/attachments': list })).calls[0]?.request.valid, valid);
  const both = await gc({ 'cni.dev/attachments': [], 'cni.dev/valid-attachments': list });
  t.strictSame(both.calls[0]?.request.valid, valid);
  for (const bad of [
    {},
    'x',
    [5],
    [null],
    [{ ifname: 'eth0' }],
    [{ containerID: 'a' }],
    [{ containerID: '', ifname: 'e' }],
  ]) {
    const answer = await gc({ 'cni.dev/valid-attachments': bad });
    t.match(
      answer,
      { status: 1, json: { code: 7, msg: /cni\.dev\/valid-attachments/ } },
      JSON.stringify(bad),
    );
    t.equal(answer.calls.length, 0);
  }
});

t.test('errors: ours keep code and details, others become 999 without a stack', async (t) => {
  const failing = (error: unknown) =>
    call('ADD', { cniVersion: '0.3.1' }, { plugin: samplePlugin({ add: () => Promise.reject(error) }) });
  t.strictSame((await failing(new CniError(104, 'taken', 'EEXIST'))).json, {
    cniVersion: '0.3.1',
    code: 104,
    msg: 'taken',
    details: 'EEXIST',
  });
  t.strictSame((await failing(new TypeError('x is not a function\n    at foo (bar.ts:1:1)'))).json, {
    cniVersion: '0.3.1',
    code: 999,
    msg: 'internal error: x is not a function',
  });
  for (const odd of [
    undefined,
    null,
    'text',
    5,
    {},
    new CniError(Number.NaN, 'odd'),
    new CniError(0, 'odd'),
  ]) {
    const answer = await failing(odd);
    t.match(answer, { status: 1, json: { code: 999, msg: /./ } });
  }
});

t.test('a result that its version cannot say is an error, and what ADD made is removed', async (t) => {
  const plugin = samplePlugin({ add: async () => ({ ...sampleResult(), ips: [] }) });
  const answer = await call('ADD', { cniVersion: '0.2.0' }, { plugin });
  t.match(answer, { status: 1, json: { code: 1, cniVersion: '0.2.0', msg: /needs an address/ } });
  t.strictSame(
    answer.calls.map(({ verb }) => verb),
    ['DEL'],
  );
});
