/** dhcp without a kernel: the client's side of the protocol, against a server in memory. */
import { readdirSync } from 'node:fs';
import t from 'tap';
import { arpOwner, arpProbe } from '../../ipam/dhcp/arp.ts';
import { dhcpIpam } from '../../ipam/dhcp/dhcp.ts';
import { OPTION, TYPE } from '../../ipam/dhcp/message.ts';
import { leaseFolder } from '../../ipam/dhcp/store.ts';
import type { IpamNetConf } from '../../ipam/ipam.ts';
import { FakeNetwork, generous, MAC, SERVER } from './dhcp-server.ts';
import { conf, request, resultOf, type World, world } from './support.ts';

const dhcp = (ipam: object = {}, more: object = {}) => conf({ type: 'dhcp', ...ipam }, more);
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
const bytes = (text: string) => new Uint8Array(Buffer.from(text, 'latin1'));

const ask = (w: World, config: IpamNetConf, args: Record<string, string> = {}) =>
  request(w, config, 'c1', { args, netns: '/run/netns/c1' });

t.test('ADD', async (t) => {
  const w = world(t);
  const network = new FakeNetwork();
  const { add, del, check, gc, status } = dhcpIpam(network.host);
  const provide = [
    { option: 'host-name', fromArg: 'K8S_POD_NAME' },
    { option: '60', value: 'weft' },
    { option: 'user-class', fromArg: 'MISSING' },
  ];
  const config = dhcp({ provide, request: [{ option: 42 }], priority: 9 });
  t.same(await add(ask(w, config, { K8S_POD_NAME: 'web-0' })), {
    ips: [{ address: '10.7.0.50/24', gateway: SERVER }],
    routes: [{ dst: '0.0.0.0/0', gw: SERVER, priority: 9 }],
    dns: {},
  });
  t.same(network.said, ['discover 0.0.0.0 - 255.255.255.255', 'request 0.0.0.0 10.7.0.50 255.255.255.255']);
  const [discover, second] = network.asked;
  t.equal(discover?.toMac, 'ffffffffffff');
  t.equal(discover?.xid, second?.xid);
  const said = Object.fromEntries([...(discover?.options ?? [])].map(([code, value]) => [code, hex(value)]));
  t.match(said, {
    [OPTION.hostName]: hex(bytes('web-0')),
    [OPTION.vendorClass]: hex(bytes('weft')),
    [OPTION.clientId]: `00${hex(bytes('c1/net/eth0'))}`,
    [OPTION.maximumSize]: '05dc',
    [OPTION.parameters]: hex(Uint8Array.of(1, 121, 3, 33, 6, 15, 26, 42, 51, 58, 59)),
  });
  t.notOk(OPTION.userClass in said, 'an argument that is missing is not told');
  t.equal(hex(second?.options.get(OPTION.server) ?? new Uint8Array()), '0a070001');

  await check(ask(w, config));
  await check({ ...ask(w, config), prevResult: resultOf(['10.7.0.50/24']) });
  const other = { ...ask(w, config), prevResult: resultOf(['10.7.0.51/24']) };
  await t.rejects(check(other), {
    code: 101,
    message: /10\.7\.0\.50\/24, which is not in the previous result/,
  });
  network.time += 121;
  await t.rejects(check(ask(w, config)), { code: 101, message: /expired/ });

  network.asked.length = 0;
  t.same(await gc(ask(w, config), [{ containerId: 'c1', ifname: 'eth0' }]), [], 'it is valid');
  t.same(await gc(ask(w, dhcp({}, { name: 'other' })), []), [], 'it is of another network');
  t.same(await del(ask(w, config)), ['10.7.0.50']);
  t.same(network.said, ['release 10.7.0.50 - 10.7.0.1']);
  t.match(network.asked, [{ from: '10.7.0.50', toMac: '0a580a070001' }], 'to the server alone');
  t.same(await del(ask(w, config)), []);
  await t.rejects(check(ask(w, config)), { code: 101, message: /no DHCP lease/ });

  await add(ask(w, config));
  t.same(await gc(ask(w, config), [{ containerId: 'c1', ifname: 'eth1' }]), ['10.7.0.50']);
  network.asked.length = 0;
  await add(ask(w, config));
  network.sandbox = '4:2';
  await del(ask(w, config));
  t.notMatch(network.said.join(), /release/, 'another container has the name of the namespace now');
  await add(ask(w, config));
  network.broken = new Error('gone');
  await del(ask(w, config));
  t.match(w.logs, [/10\.7\.0\.50 is free.*gone/]);
  network.broken = undefined;
  network.renewed = false;
  await t.rejects(add(ask(w, config)), { code: 11, message: /run "weft agent"/ });
  await t.rejects(status(ask(w, config)), { code: 50, message: /run "weft agent"/ });
  t.same(readdirSync(leaseFolder(w.runDir)), ['lock']);
});

t.test('servers that are no help', async (t) => {
  const w = world(t);
  const network = new FakeNetwork();
  const { add } = dhcpIpam(network.host);
  const failing = async (behaviour: FakeNetwork['behaviour'], message: RegExp, args = {}) => {
    network.behaviour = behaviour;
    network.asked.length = 0;
    await t.rejects(add(ask(w, dhcp(), args)), { code: 11, message });
  };
  await failing(() => undefined, /no DHCP server answered within 0\.01 s/);
  t.equal(network.asked.length, 2, 'each message once for each time to wait');
  const nak = { type: TYPE.nak, options: [[OPTION.message, bytes('not today\n')]] as [number, Uint8Array][] };
  await failing(
    (asked) => (asked.type === TYPE.request ? nak : generous()(asked)),
    /then refused it: not today$/,
  );
  t.equal(network.asked.length, 6, 'three times from the beginning');
  await failing(
    (asked) => (asked.type === TYPE.request ? undefined : generous()(asked)),
    /offered 10\.7\.0\.50, and then answered no more/,
  );
  await failing(({ type }) => ({ type: TYPE.offer, yiaddr: '10.7.0.5', ...(type && {}) }), /no subnet mask/);
  await failing((asked) => ({ ...(generous()(asked) ?? nak), xid: 1 }), /no DHCP server answered/);
  await failing(
    (asked) => ({ ...(generous()(asked) ?? nak), chaddr: Uint8Array.of(1) }),
    /no DHCP server answered/,
  );
  await failing(
    (asked) => generous()({ ...asked, requested: undefined }),
    /offers 10\.7\.0\.50, not 10\.7\.0\.77/,
    {
      IP: '10.7.0.77',
    },
  );

  // One refusal, and a second attempt that is granted.
  let refusals = 0;
  network.behaviour = (asked) => (asked.type === TYPE.request && refusals++ === 0 ? nak : generous()(asked));
  t.match(await add(ask(w, dhcp(), { IP: '10.7.0.77/24' })), { ips: [{ address: '10.7.0.77/24' }] });
  network.broken = new Error('no such link');
  await t.rejects(add(ask(w, dhcp())), { code: 100, details: /no such link/ });
});

t.test('an address that somebody else has', async (t) => {
  const w = world(t);
  const network = new FakeNetwork();
  const { add } = dhcpIpam(network.host);
  network.others.set('10.7.0.50', '02:00:00:00:00:07');
  let declined = 0;
  network.behaviour = (asked) => {
    if (asked.type === TYPE.decline) declined += 1;
    return generous(declined === 0 ? '10.7.0.50' : '10.7.0.51')(asked);
  };
  t.match(await add(ask(w, dhcp())), { ips: [{ address: '10.7.0.51/24' }] });
  t.same(network.said, [
    'discover 0.0.0.0 - 255.255.255.255',
    'request 0.0.0.0 10.7.0.50 255.255.255.255',
    'decline 0.0.0.0 10.7.0.50 255.255.255.255',
    'discover 0.0.0.0 - 255.255.255.255',
    'request 0.0.0.0 10.7.0.51 255.255.255.255',
  ]);
  const { options } = network.asked[2] ?? {};
  // RFC 2131, table 5: which address, of which server; what is asked for may not be there.
  t.same(
    [...(options?.keys() ?? [])].sort(),
    [OPTION.requestedAddress, OPTION.messageType, OPTION.server, OPTION.clientId].sort(),
  );

  network.behaviour = generous();
  network.asked.length = 0;
  await t.rejects(add(ask(w, dhcp())), {
    code: 11,
    message: /granted 10\.7\.0\.50, which 02:00:00:00:00:07 on this network has already/,
  });
  t.equal(
    network.said.filter((line) => line.startsWith('decline')).length,
    3,
    'three times from the beginning',
  );
});

t.test('who has an address', async (t) => {
  const other = Uint8Array.of(2, 0, 0, 0, 0, 7);
  const probe = arpProbe(MAC, '10.7.0.50');
  t.equal(hex(probe), '0001080006040001' + '0a580a070002' + '00000000' + '000000000000' + '0a070032');
  const packet = (operation: number, sender: Uint8Array, from: string, target: string) => {
    const made = arpProbe(sender, target);
    made[7] = operation;
    made.set(from.split('.').map(Number), 14);
    return made;
  };
  const owner = (made: Uint8Array) => arpOwner(made, MAC, '10.7.0.50');
  t.equal(owner(packet(2, other, '10.7.0.50', '0.0.0.0')), '02:00:00:00:00:07', 'an answer');
  t.equal(owner(packet(1, other, '10.7.0.50', '10.7.0.1')), '02:00:00:00:00:07', 'a question from there');
  t.equal(owner(arpProbe(other, '10.7.0.50')), '02:00:00:00:00:07', 'somebody who is about to take it');
  t.equal(owner(packet(1, other, '10.7.0.9', '10.7.0.50')), undefined, 'a question for it');
  t.equal(owner(packet(2, other, '10.7.0.9', '0.0.0.0')), undefined, 'another address');
  t.equal(owner(probe), undefined, 'ourselves');
  t.equal(owner(probe.subarray(0, 20)), undefined, 'cut off');
});

t.test('configurations that cannot be meant', async (t) => {
  const { validate, add } = dhcpIpam(new FakeNetwork().host);
  const bad: [object, RegExp][] = [
    [{ provide: [{ option: 'colour' }] }, /ipam\.provide\[0\]\.option: found "colour", wanted a number/],
    [{ request: [{ option: 255 }] }, /ipam\.request\[0\]\.option: found 255/],
    [{ provide: [{ option: 50, value: 'x' }] }, /option 50 is the protocol's own/],
    [{ provide: [{ option: 12, value: 'x'.repeat(256) }] }, /found 256 bytes, wanted at most 255/],
    [{ provide: {} }, /ipam\.provide: found \{\}/],
  ];
  for (const [ipam, message] of bad) t.throws(() => validate(dhcp(ipam)), { code: 7, message });
  validate(
    dhcp({ daemonSocketPath: '/run/cni/dhcp.sock', request: [{ skipDefault: true }, { option: '3' }] }),
  );
  const w = world(t);
  await t.rejects(add(ask(w, dhcp(), { IP: '10.7.0.1,10.7.0.2' })), {
    code: 7,
    message: /at most one address/,
  });
  await t.rejects(add(ask(w, dhcp(), { IP: 'fd00::1' })), { code: 7, message: /of IPv4/ });
});
