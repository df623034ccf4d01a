import t from 'tap';
import { nftablesBackend } from '../../firewall/nftables.ts';
import { masqueradeSuite } from './suite.ts';

masqueradeSuite(t, {
  make: nftablesBackend,
  flushes: [
    'nft flush ruleset',
    'nft flush table inet weft',
    'nft flush chain inet weft postrouting',
    'nft flush chain inet weft masq-net1',
    'nft flush chain inet weft postrouting; nft delete chain inet weft postrouting',
  ],
  native: true,
  typed: true,
  process: 'nftables',
  crowd: 2 + 9 + 2 + 1,
});
