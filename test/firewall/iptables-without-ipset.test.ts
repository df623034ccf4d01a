import t from 'tap';
import { iptablesBackend } from '../../firewall/iptables.ts';
import { masqueradeSuite } from './suite.ts';

masqueradeSuite(t, {
  make: (host, ambient) => iptablesBackend(host, ambient, false),
  flushes: [
    'nft flush ruleset',
    'iptables -t nat -F; ip6tables -t nat -F',
    'iptables -t nat -F POSTROUTING; ip6tables -t nat -F POSTROUTING',
  ],
  native: false,
  // A person would use ipset.
  typed: false,
  process: 'iptables without ipset',
  crowd: 2 + 9 + 2 + 16,
});
