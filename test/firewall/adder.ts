/** One of several processes that add members at the same moment: `adder.ts BACKEND NETNS NUMBER`, starts when stdin ends. */
import { readFileSync } from 'node:fs';
import { iptablesBackend } from '../../firewall/iptables.ts';
import { nftablesBackend } from '../../firewall/nftables.ts';
import { openDoor } from '../../netlink/namespace.ts';
import { realAmbient } from '../../runtime/ambient.ts';

const [backend, netns, number] = process.argv.slice(2);
const host = await openDoor().open(netns);
const ambient = realAmbient(process.env);
const chosen =
  backend === 'nftables'
    ? nftablesBackend(host, ambient)
    : iptablesBackend(host, ambient, backend !== 'iptables without ipset');
console.log('ready');
readFileSync(0);
await chosen.addMasquerade({
  network: 'net1',
  containerId: `c${number}`,
  ifname: 'eth0',
  sources: [`10.66.3.${number}`, `fd66:0:3::${number}`],
  // Every one knows another part of the network.
  except: [`10.${number}.0.0/16`, 'fd66::/32'],
});
host.close();
