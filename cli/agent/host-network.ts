/** What of ours the kernel has: links by network, and whether masquerade's base rules stand. */
import type { Ambient } from '../../cni/ambient.ts';
import type { Namespace } from '../../netlink/door.ts';
import type { PluginConf } from '../../plugins/definition.ts';
import type { NetworkList } from '../../runtime/conflist.ts';
import { type Lacking, lackingOnHost } from './lacking.ts';

export interface MasqueradeState {
  backend: string;
  /** `unneeded`: no container is attached, and ADD makes them. */
  rules: 'standing' | 'missing' | 'unneeded' | 'unknown';
  /** What is missing, or why it is not known. */
  missing: string[];
}

export interface HostView {
  /** How many links each network has; undefined where we may not look. */
  links: Map<string, number> | undefined;
  masquerade: Map<string, MasqueradeState>;
  lacking: Lacking[];
  notes: string[];
}

/** Documentation addresses (RFC 5737, RFC 3849): what is missing of them was never there, the rest of the answer is the base. */
const NOBODY = ['192.0.2.1', '2001:db8::1'] as const;

/** @param leased networks with leases, whose rules have to stand */
export async function lookAtHost(
  ambient: Ambient,
  lists: readonly NetworkList[],
  leased: ReadonlySet<string>,
): Promise<HostView> {
  const { openDoor } = await import('../../netlink/namespace.ts');
  let host: Namespace | undefined;
  try {
    host = await openDoor().open();
    const links = await linksByNetwork(host, lists);
    const masquerade = new Map<string, MasqueradeState>();
    for (const list of lists) {
      const state = await masqueradeOf(host, ambient, list, leased.has(list.name) || links.has(list.name));
      if (state && !masquerade.has(list.name)) masquerade.set(list.name, state);
    }
    return { links, masquerade, lacking: await lackingOnHost(host, ambient), notes: [] };
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return {
      links: undefined,
      masquerade: new Map(),
      lacking: [],
      notes: [`links and rules cannot be seen (run as root): ${why}`],
    };
  } finally {
    host?.close();
  }
}

async function linksByNetwork(host: Namespace, lists: readonly NetworkList[]): Promise<Map<string, number>> {
  const [{ listLinks }, { hostLinkPrefix }] = await Promise.all([
    import('../../netlink/link.ts'),
    import('../../plan/names.ts'),
  ]);
  const [reply] = await host.send(listLinks());
  const links = new Map<string, number>();
  const prefixes = lists.map(({ name }) => [hostLinkPrefix(name), name] as const);
  for (const { name, alias, kind } of reply.ok ? reply.value : []) {
    if (kind !== 'veth') continue;
    const said = alias ? /^weft (\S+) /.exec(alias)?.[1] : undefined;
    const network = said ?? (alias ? undefined : prefixes.find(([prefix]) => name.startsWith(prefix))?.[1]);
    if (network !== undefined) links.set(network, (links.get(network) ?? 0) + 1);
  }
  return links;
}

async function masqueradeOf(
  host: Namespace,
  ambient: Ambient,
  list: NetworkList,
  needed: boolean,
): Promise<MasqueradeState | undefined> {
  const plugins = await Promise.all(list.plugins.map((plugin) => withDefaults(list, plugin, ambient)));
  const plugin = plugins.find(({ ipMasq }) => ipMasq === true);
  if (plugin === undefined) return undefined;
  const asked = plugin.ipMasqBackend;
  const { firewall } = await import('../../firewall/select.ts');
  const backend = await firewall(
    host,
    ambient,
    asked === 'nftables' || asked === 'iptables' ? asked : undefined,
  );
  if (!needed) return { backend: backend.name, rules: 'unneeded', missing: [] };
  try {
    const member = { network: list.name, containerId: 'nobody', ifname: 'none', except: [] };
    const lines = await backend.verifyMasquerade({
      ...member,
      // A route to a family is no address of it.
      sources: familiesOf([
        { ...(plugin.ipam as object | undefined), routes: undefined },
        plugin.pool,
        plugin.pools,
      ]),
    });
    const missing = lines.filter((line) => !NOBODY.some((address) => line.includes(address)));
    return { backend: backend.name, rules: missing.length > 0 ? 'missing' : 'standing', missing };
  } catch (error) {
    return {
      backend: backend.name,
      rules: 'unknown',
      missing: [error instanceof Error ? error.message : String(error)],
    };
  }
}

/** Networks between hosts masquerade unless they are told not to. */
async function withDefaults(
  list: NetworkList,
  plugin: NetworkList['plugins'][number],
  ambient: Ambient,
): Promise<Readonly<Record<string, unknown>>> {
  const { loadDefinition } = await import('../../plugins/registry.ts');
  const definition = await loadDefinition(plugin.type);
  const config = { ...plugin, name: list.name, cniVersion: list.cniVersion };
  return definition?.resolve?.(config as PluginConf, ambient, 'PLAN') ?? config;
}

/** One of the addresses for each family of the ranges or pools; IPv4 where there are none to see. */
function familiesOf(ranges: unknown): string[] {
  const text = JSON.stringify(ranges);
  const found = NOBODY.filter((address) =>
    address.includes(':')
      ? // At least two colons: those of JSON itself stand alone.
        /"[0-9a-f]*:[0-9a-f.]*:[0-9a-f:.]*(?:\/\d+)?"/i.test(text)
      : /"\d+\.\d+\.\d+\.\d+\//.test(text),
  );
  return found.length > 0 ? found : [NOBODY[0]];
}
