/** Which masquerade backend a host gets. */
import type { Ambient } from '../cni/ambient.ts';
import { CniError, ErrorCode } from '../cni/errors.ts';
import type { Namespace } from '../netlink/door.ts';
import { tolerating } from '../netlink/message.ts';
import { getChain } from '../netlink/nftables-objects.ts';
import type { FirewallBackend } from './firewall.ts';
import { POSTROUTING, TABLE } from './nftables-ruleset.ts';
import { findProgram } from './program.ts';
import { legacyTables, NO_NFTABLES } from './xtables.ts';

/**
 * The backend that was asked for, unseen (its probe() tells whether it can work); else nftables, where weft's chain stands already, or
 * the kernel has nf_tables and the host does not run on legacy iptables; else iptables. What was chosen once stays, so that a
 * container's DEL looks where its ADD wrote. Starts no process.
 *
 * Where neither can work, the backend that comes back removes what may be there, so that DEL and GC succeed, and its addMasquerade,
 * verifyMasquerade and probe throw CniError(notAvailable), naming what is missing.
 * @param find looks programs up; tests hide some.
 */
export async function firewall(
  host: Namespace,
  ambient: Ambient,
  asked?: FirewallBackend['name'],
  find: typeof findProgram = findProgram,
): Promise<FirewallBackend> {
  const { name, lack } = asked ? { name: asked, lack: undefined } : await choose(host, ambient, find);
  const backend =
    name === 'nftables'
      ? (await import('./nftables.ts')).nftablesBackend(host, ambient)
      : (await import('./iptables.ts')).iptablesBackend(host, ambient);
  return lack === undefined ? backend : removalOnly(backend, lack);
}

interface Choice {
  name: FirewallBackend['name'];
  /** Why it cannot work. */
  lack: string | undefined;
}

async function choose(host: Namespace, ambient: Ambient, find: typeof findProgram): Promise<Choice> {
  const [base] = await host.send(
    tolerating(getChain({ family: 'inet', table: TABLE, chain: POSTROUTING }), 'ENOENT', ...NO_NFTABLES),
  );
  if (base.ok) return { name: 'nftables', lack: undefined };
  const kernel = base.error.errno === 'ENOENT';
  const legacy = await runsOnLegacy(host);
  const nft = find(ambient.env, 'nft');
  const iptables = find(ambient.env, 'iptables-restore');
  if (kernel && nft && !(legacy && iptables)) return { name: 'nftables', lack: undefined };
  if (iptables) return { name: 'iptables', lack: undefined };
  return kernel
    ? {
        name: 'nftables',
        lack: 'neither nft nor iptables is installed (or on PATH): install nftables or iptables',
      }
    : {
        name: 'iptables',
        lack: 'the kernel has no nf_tables, and iptables is not installed (or not on PATH): install iptables',
      };
}

function removalOnly(backend: FirewallBackend, lack: string): FirewallBackend {
  const refuse = async (): Promise<never> => {
    throw new CniError(ErrorCode.notAvailable, `cannot masquerade: ${lack}, or turn masquerade off`);
  };
  return { ...backend, addMasquerade: refuse, verifyMasquerade: refuse, probe: refuse };
}

async function runsOnLegacy(host: Namespace): Promise<boolean> {
  return (await legacyTables(host, 4)).length > 0 || (await legacyTables(host, 6)).length > 0;
}
