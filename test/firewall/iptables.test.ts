import t from 'tap';
import { iptablesBackend } from '../../firewall/iptables.ts';
import { masqueradeSuite } from './suite.ts';

masqueradeSuite(t, {
  make: iptablesBackend,
  flushes: [
    'nft flush ruleset',
    'iptables -t nat -F; ip6tables -t nat -F',
    'iptables -t nat -F POSTROUTING; ip6tables -t nat -F POSTROUTING',
  ],
  native: true,
  typed: true,
  process: 'iptables',
  crowd: 2,
});
