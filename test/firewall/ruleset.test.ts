import t from 'tap';
import * as iptables from '../../firewall/iptables-rules.ts';
import * as nftables from '../../firewall/nftables-ruleset.ts';
import { iptablesNames, masqueradeChain, ownerMark } from '../../firewall/ownership.ts';

const member = {
  network: 'podnet',
  containerId: 'c1',
  ifname: 'eth0',
  sources: ['10.1.0.5', 'FD00:0::5'],
  except: ['10.1.0.5/16', 'fd00::5/64'],
};

t.test('nftables: the lines that a person would type', async (t) => {
  t.strictSame(nftables.renderCommands(member), [
    `nft 'add table inet weft { comment "container networks (weft): rules are constant, a container is an element of a map"; }'`,
    `nft 'add map inet weft masquerade4 { type ipv4_addr : verdict; counter; comment "container address : chain of its network"; }'`,
    `nft 'add map inet weft masquerade6 { type ipv6_addr : verdict; counter; comment "container address : chain of its network"; }'`,
    `nft 'add chain inet weft postrouting { type nat hook postrouting priority srcnat; policy accept; }'`,
    `nft 'add chain inet weft masq-podnet { comment "masquerade of network podnet"; }'`,
    `nft 'add rule inet weft postrouting ip saddr vmap @masquerade4 comment "weft/1 containers that leave with the IPv4 address of the host"'`,
    `nft 'add rule inet weft postrouting ip6 saddr vmap @masquerade6 comment "weft/1 containers that leave with the IPv6 address of the host"'`,
    `nft 'add rule inet weft masq-podnet ip daddr 10.1.0.0/16 return comment "weft/1 keep source to 10.1.0.0/16"'`,
    `nft 'add rule inet weft masq-podnet ip daddr 224.0.0.0/4 return comment "weft/1 keep source to 224.0.0.0/4"'`,
    `nft 'add rule inet weft masq-podnet ip6 daddr fd00::/64 return comment "weft/1 keep source to fd00::/64"'`,
    `nft 'add rule inet weft masq-podnet ip6 daddr ff00::/8 return comment "weft/1 keep source to ff00::/8"'`,
    `nft 'add rule inet weft masq-podnet masquerade fully-random comment "weft/1 masquerade podnet"'`,
    `nft 'add element inet weft masquerade4 { 10.1.0.5 comment "c1 eth0" : jump masq-podnet }'`,
    `nft 'add element inet weft masquerade6 { fd00::5 comment "c1 eth0" : jump masq-podnet }'`,
  ]);
});

t.test('iptables: the lines that a person would type', async (t) => {
  t.strictSame(iptables.renderCommands(member), [
    'ipset create weft-podnet-4 hash:ip family inet maxelem 1048576 comment',
    'ipset create weft-podnet-x4 hash:net family inet maxelem 1048576',
    'ipset add weft-podnet-x4 10.1.0.0/16',
    'ipset add weft-podnet-x4 224.0.0.0/4',
    'iptables -t nat -A POSTROUTING -m set --match-set weft-podnet-4 src -m set ! --match-set weft-podnet-x4 dst -m comment --comment "weft network podnet: masquerade" -j MASQUERADE --random-fully',
    'ipset create weft-podnet-6 hash:ip family inet6 maxelem 1048576 comment',
    'ipset create weft-podnet-x6 hash:net family inet6 maxelem 1048576',
    'ipset add weft-podnet-x6 fd00::/64',
    'ipset add weft-podnet-x6 ff00::/8',
    'ip6tables -t nat -A POSTROUTING -m set --match-set weft-podnet-6 src -m set ! --match-set weft-podnet-x6 dst -m comment --comment "weft network podnet: masquerade" -j MASQUERADE --random-fully',
    'ipset add weft-podnet-4 10.1.0.5 comment "c1 eth0"',
    'ipset add weft-podnet-6 fd00::5 comment "c1 eth0"',
  ]);
});

t.test('names fit where they go, and differ where networks differ', async (t) => {
  const long = 'a'.repeat(200);
  for (const network of ['a', 'Net_1.x-y', long, `${long}b`, 'quo"te', "x'; flush ruleset"]) {
    const names = iptablesNames(network);
    for (const set of [names.sources[4], names.sources[6], names.except[4], names.except[6]]) {
      t.ok(set.length <= 31, set);
      t.match(set, /^[\w.-]+$/);
    }
    t.ok(names.chain.length <= 28, names.chain);
    t.match(masqueradeChain(network), /^[\w.-]{1,100}$/);
  }
  t.not(masqueradeChain(long), masqueradeChain(`${long}b`));
  t.not(iptablesNames(long).chain, iptablesNames(`${long}b`).chain);
});

t.test('an owner is named in at most 127 bytes, and always the same way', async (t) => {
  t.equal(ownerMark({ containerId: 'c1', ifname: 'eth0' }), 'c1 eth0');
  const long = { containerId: 'c'.repeat(300), ifname: 'eth0' };
  t.ok(ownerMark(long).length <= 127);
  t.match(ownerMark(long), /^c{60}~[0-9a-f]{16} .*eth0$/);
  t.not(ownerMark(long), ownerMark({ ...long, containerId: `${long.containerId}c` }));
  t.notMatch(ownerMark({ containerId: 'c1', ifname: 'a"b\\' }), /["\\]/);
  t.not(ownerMark({ containerId: 'c1', ifname: 'a"b' }), ownerMark({ containerId: 'c1', ifname: 'a_b' }));
});

t.test('what is no address and no prefix is refused by name', async (t) => {
  const render = (change: object) => () => nftables.renderCommands({ ...member, ...change });
  t.throws(render({ sources: ['10.1.0.5/16'] }), { code: 7, message: /10\.1\.0\.5\/16.*not an IP address/ });
  t.throws(render({ except: ['10.1.0.5'] }), { code: 7, message: /10\.1\.0\.5.*not a prefix/ });
});

t.test('exceptions are read back from the comments of the rules', async (t) => {
  const comments = nftables.networkComments('podnet', ['10.1.0.0/16']);
  t.strictSame(
    nftables.exceptionsOf([...comments, undefined, 'of somebody else', 'weft/1 keep source to me']),
    ['10.1.0.0/16', '224.0.0.0/4', 'ff00::/8'],
  );
});
