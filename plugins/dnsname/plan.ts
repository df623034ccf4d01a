import { join } from 'node:path';
import { addressOf } from '../../cni/prefix.ts';
import type { Result } from '../../cni/types.ts';
import { hostLinkName } from '../../plan/names.ts';
import type { Step } from '../../plan/step.ts';
import type { ChainedInput } from '../chained.ts';
import { answerFrom } from '../outcome.ts';
import type { DnsnameConf } from './schema.ts';

export const namesFolder = (runDir: string) => join(runDir, 'names');

/** What DNS can ask for: labels of letters, digits, hyphens and, as containers have them, underlines. */
const NAME = /^(?=.{1,200}$)[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_][a-z0-9_-]{0,62})*$/i;

const domainOf = ({ domainName }: DnsnameConf) => (domainName ?? '').replace(/^\.+|\.+$/g, '').toLowerCase();

/** The container's name as the runtime says it, and its aliases in this network; what cannot be a name is left out. */
function namesOf({ config, args }: ChainedInput<DnsnameConf>): string[] {
  const aliases = config.runtimeConfig?.aliases ?? [];
  const own = Array.isArray(aliases) ? aliases : (aliases[config.name] ?? []);
  const all = [args.K8S_POD_NAME ?? '', ...own].map((name) => name.toLowerCase());
  return [...new Set(all)].filter((name) => NAME.test(name));
}

/** The host's addresses in the network: who answers. */
function serversOf({ ips }: Pick<Result, 'ips'>): string[] {
  return [...new Set(ips.flatMap(({ gateway }) => (gateway ? [gateway] : [])))];
}

const fileOf = ({ attachment, paths }: ChainedInput<DnsnameConf>) =>
  join(namesFolder(paths.runDir), `${hostLinkName(attachment.network, attachment)}.json`);

/** Nothing where the network has no gateway: nobody is there to answer. */
export function dnsnamePlan(input: ChainedInput<DnsnameConf>): Step[] {
  const { attachment, prevResult, config } = input;
  const { network, containerId, ifname } = attachment;
  const { ips } = prevResult ? answerFrom(prevResult, ifname) : { ips: [] };
  const servers = serversOf({ ips });
  if (servers.length === 0) return [];
  const addresses = ips.map(({ address }) => address);
  const file = fileOf(input);
  return [
    {
      kind: 'names',
      ...{ network, containerId, ifname, domain: domainOf(config), names: namesOf(input) },
      ...{ addresses, servers, file },
    },
  ];
}

export function dnsnameRemoval(input: ChainedInput<DnsnameConf>): Step[] {
  const { network, containerId, ifname } = input.attachment;
  const none = { domain: '', names: [], addresses: [], servers: [] };
  return [{ kind: 'names', network, containerId, ifname, ...none, file: fileOf(input) }];
}

/** The container asks us first, then those whom it was told before. */
export function dnsnameResult({ config, attachment }: ChainedInput<DnsnameConf>, prevResult: Result): Result {
  const { dns } = prevResult;
  const domain = domainOf(config);
  const servers = serversOf(answerFrom(prevResult, attachment.ifname)).map(addressOf);
  return {
    ...prevResult,
    dns: {
      ...dns,
      nameservers: [...new Set([...servers, ...(dns.nameservers ?? [])])],
      ...(domain !== '' && { search: [...new Set([...(dns.search ?? []), domain])] }),
    },
  };
}
