/** Where accepts belong on hosts of each kind. */
import t from 'tap';
import { type Forwarding, type IptablesPlace, placesFor } from '../../firewall/forward-places.ts';

const V4 = { family: 4, address: '10.1.0.2' } as const;
const V6 = { family: 6, address: 'fd00::2' } as const;
const HOST: Forwarding = { kernel: true, nft: true, iptables: true, dropping: [], firewalld: false };
const NFT4: IptablesPlace = { family: 4, variant: 'nft' };
const LEGACY6: IptablesPlace = { family: 6, variant: 'legacy' };

const on = (
  host: Partial<Forwarding>,
  wanted: Partial<Parameters<typeof placesFor>[1]> = {},
): ReturnType<typeof placesFor> => placesFor({ ...HOST, ...host }, { addresses: [V4, V6], ...wanted });

t.test('unset: nftables, and iptables where they drop', async (t) => {
  const nothing = { nftables: true, iptables: [], firewalld: false, problem: undefined };
  t.strictSame(on({}), nothing);
  t.strictSame(on({}, { zone: 'trusted' }), nothing);
  t.strictSame(on({ firewalld: true }, { zone: 'trusted' }), { ...nothing, firewalld: true });
  t.strictSame(on({ firewalld: true }), nothing, 'no zone is wanted');
  t.strictSame(on({ dropping: [NFT4, LEGACY6] }), { ...nothing, iptables: [NFT4, LEGACY6] });
  t.strictSame(on({ dropping: [NFT4, LEGACY6] }, { addresses: [V6] }).iptables, [LEGACY6], 'its family only');
  t.match(on({ dropping: [NFT4], iptables: false }).problem, /iptables-restore is not installed/);
});

t.test('hosts without nftables', async (t) => {
  for (const host of [{ kernel: false }, { nft: false }]) {
    const { nftables, iptables, problem } = on(host);
    t.notOk(nftables);
    t.strictSame(iptables, [
      { family: 4, variant: undefined },
      { family: 6, variant: undefined },
    ]);
    t.equal(problem, undefined);
    t.strictSame(on({ ...host, dropping: [NFT4] }).iptables, [NFT4, { family: 6, variant: undefined }]);
  }
  const bare = { nft: false, iptables: false };
  t.equal(on(bare).problem, undefined, 'nothing drops, nothing is wanted');
  t.match(on(bare, { required: 'rules' }).problem, /neither nft nor iptables/);
});

t.test('what is asked for', async (t) => {
  t.strictSame(on({ dropping: [NFT4] }, { rules: 'nftables', required: 'rules' }).iptables, []);
  t.match(on({ nft: false }, { rules: 'nftables', required: 'rules' }).problem, /nft is not installed/);
  t.match(on({ kernel: false }, { rules: 'nftables', required: 'rules' }).problem, /has no nf_tables/);
  const asked = on({ dropping: [LEGACY6] }, { rules: 'iptables', required: 'rules' });
  t.notOk(asked.nftables);
  t.strictSame(asked.iptables, [{ family: 4, variant: undefined }, LEGACY6]);
  t.match(on({ iptables: false }, { rules: 'iptables', required: 'rules' }).problem, /iptables-restore/);
  t.ok(on({}, { zone: 'trusted', required: 'zone' }).firewalld, 'firewalld is asked, seen or not');
});
