/** What keeps a plugin that makes links from being used as the address management of another, or of itself. */
import { CniError, ErrorCode } from '../cni/errors.ts';
import type { PluginVerbs, VerbRequest } from '../cni/plugin.ts';

/** Stands in the environment of every program that is executed because of `ipam.type`. */
export const ASKED_FOR_ADDRESSES = 'WEFT_ASKED_FOR_ADDRESSES';

/**
 * The verbs of a plugin that has no addresses to give. `ipam.type: "bridge"` would otherwise execute the bridge plugin, which
 * gets the same configuration, and executes the bridge plugin: processes without end. DEL and GC have nothing to do then.
 */
export function notIpam<C>(verbs: PluginVerbs<C>): PluginVerbs<C> {
  const isAsked = ({ ambient }: VerbRequest<C>) => ambient.env[ASKED_FOR_ADDRESSES] !== undefined;
  const refusing =
    <R extends VerbRequest<C>, T>(work: (request: R) => Promise<T>) =>
    async (request: R): Promise<T> => {
      if (!isAsked(request)) return await work(request);
      throw new CniError(
        ErrorCode.invalidConfig,
        `ipam.type: ${verbs.type} makes links, wanted an address management such as host-local, static or dhcp`,
      );
    };
  const skipping =
    <R extends VerbRequest<C>>(work: (request: R) => Promise<void>) =>
    async (request: R): Promise<void> => {
      if (!isAsked(request)) await work(request);
    };
  return {
    ...verbs,
    add: refusing(verbs.add),
    check: refusing(verbs.check),
    status: refusing(verbs.status),
    del: skipping(verbs.del),
    gc: skipping(verbs.gc),
  };
}
