import t from 'tap';
import { makeGround } from '../runtime/fake-plugins.ts';
import { weft } from './weft.ts';

t.test('a wrong command line is told, with status 2', async (t) => {
  const { ambient } = makeGround(t);
  const table: [string[], RegExp][] = [
    [['nett'], /weft: no command registered for `nett`, did you mean `net`\?/],
    [['net', 'addd'], /did you mean `add`/],
    [['completions', 'bash'], /did you mean `completion`/],
    [['net', 'list', '--jsn'], /no flag registered for --jsn, did you mean --json\?/],
    [['net', 'list', 'podnet'], /too many arguments/],
    [['net', 'add'], /expected argument for NETWORK\|FILE/],
    [['net', 'add', 'podnet'], /expected argument for NETNS/],
    [
      ['net', 'add', 'podnet', 'blue', '--cap', 'mac'],
      /weft: failed to parse "mac" for cap: wanted KEY=JSON/,
    ],
    [
      ['net', 'add', 'podnet', 'blue', '--cap', 'mac=x'],
      /the value of mac is not JSON: x \(text needs quotes/,
    ],
    [['net', 'add', 'podnet', 'blue', '--arg', 'IP'], /failed to parse "IP" for arg: wanted K=V/],
    [['net', 'add', 'podnet', 'blue', '--arg', 'A=1;B=2'], /an argument holds no ";": repeat --arg/],
    [['net', 'add', 'podnet', 'blue', '--arg', '=1'], /wanted K=V/],
    [['net', 'del', 'podnet'], /weft: which container\? give NETNS, or --id if its namespace is gone/],
    [['net', 'gc'], /expected argument for NETWORK\|FILE/],
    [['net', 'gc', 'podnet'], /which attachments stay\? give --valid/],
    [['net', 'gc', 'podnet', '--all', '--valid', 'a/b'], /exclude each other/],
    [['net', 'gc', 'podnet', '--valid', 'web'], /wanted ID\/IFNAME, such as web\/eth0/],
    [['net', 'gc', 'podnet', '--valid', '/eth0'], /wanted ID\/IFNAME/],
    [['net', 'status'], /expected argument for NETWORK\|FILE/],
    [['net', 'version'], /expected argument for NETWORK\|FILE/],
    [['plan'], /expected argument for FILE/],
    [['plan', 'a', 'b'], /too many arguments/],
    [['demo', 'brigde'], /did you mean `bridge`/],
    [['demo', 'bridge', '--backend', 'ebtables'], /expected "ebtables" to be one of \(nftables\|iptables\)/],
    [['agent', '--metrics', '9464'], /wanted an address of the loopback interface and a port/],
    [['agent', '--metrics', '0.0.0.0:9464'], /wanted an address of the loopback interface/],
    [['agent', '--metrics', '192.0.2.1:9464'], /wanted an address of the loopback interface/],
    [['agent', '--metrics', '127.0.0.1.example.org:80'], /wanted an address of the loopback interface/],
    [['agent', '--metrics', '127.0.0.300:9464'], /wanted an address of the loopback interface/],
    [['agent', '--metrics', '[::]:9464'], /wanted an address of the loopback interface/],
    [['agent', '--metrics', '127.0.0.1:70000'], /wanted an address of the loopback interface/],
    [['top', '--interval', '0'], /wanted seconds between 0\.1 and 3600/],
    [['top', '--count', '0'], /wanted a number from 1 on/],
    [['status', 'now'], /too many arguments/],
    [['completion'], /expected argument for SHELL/],
    [['completion', 'csh'], /there is no completion for "csh": wanted bash, zsh or fish/],
    [['version', 'now'], /too many arguments/],
  ];
  for (const [argv, message] of table) {
    const { status, out, err } = await weft(ambient, ...argv);
    t.match({ status, out, err }, { status: 2, out: '', err: message }, argv.join(' '));
    t.match(err, /\nsee "weft[a-z -]* --help"\n$/, 'where help is');
    t.notMatch(err, /\n\s+at /, 'no stack trace');
  }
});

t.test('the help that is pointed to is that of the command', async (t) => {
  const { ambient } = makeGround(t);
  for (const [argv, command] of [
    [['nett'], 'weft'],
    [['net', 'addd'], 'weft net'],
    [['net', 'add', 'list'], 'weft net add'],
    [['demo', 'bridge', '--nonsense'], 'weft demo bridge'],
  ] as const) {
    t.match((await weft(ambient, ...argv)).err, `see "${command} --help"\n`);
  }
});

t.test('an operation that fails is told, with status 1', async (t) => {
  const ground = makeGround(t);
  ground.write('a.conflist', { name: 'a', cniVersion: '1.0.0', plugins: [{ type: 'missing' }] });
  ground.plugin('here');
  ground.write('h.conflist', { name: 'h', cniVersion: '1.0.0', plugins: [{ type: 'here' }] });
  const table: [string[], RegExp][] = [
    [['net', 'add', 'b', '/proc/self/ns/net'], /weft: no network is called "b" in .*: there are a, h/],
    [['net', 'add', './none.conflist', 'x'], /there is no such file/],
    [['net', 'add', 'a', 'no-such-name'], /no network namespace is called "no-such-name"/],
    [['net', 'add', 'a', '/proc/self/status'], /is no network namespace but an ordinary file/],
    [['net', 'add', 'a', '/proc/self/ns/net'], /plugin missing cannot be executed/],
    [['net', 'add', 'h', '/proc/self/ns/net', '--id', '../x'], /CNI_CONTAINERID is "\.\.\/x"/],
    [['net', 'add', 'h', '/proc/self/ns/net', '--ifname', 'a/b'], /CNI_IFNAME is "a\/b"/],
    [['net', 'check', 'a', '/proc/self/ns/net'], /is not attached to network a/],
    [['net', 'del', 'a', '--id', 'x'], /DEL by missing/],
    [['net', 'version', 'a'], /VERSION by missing/],
    [['plan', 'none.json'], /cannot read the network configuration none\.json: there is no such file/],
  ];
  for (const [argv, message] of table) {
    const { status, err } = await weft(
      ground.ambient,
      ...argv,
      ...(argv[0] === 'net' ? path(ground.bin) : []),
    );
    // Without root nothing comes to the point where plugins are asked.
    const wanted = isRoot || argv[0] !== 'net' ? message : new RegExp(`${message.source}|needs root`);
    t.match({ status, err }, { status: 1, err: wanted }, argv.join(' '));
    t.notMatch(err, /\n\s+at /, 'no stack trace');
  }
});

const isRoot = process.getuid?.() === 0;

function path(bin: string): string[] {
  return ['--cni-path', bin];
}
