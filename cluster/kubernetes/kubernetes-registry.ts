/**
 * Kubernetes nodes as a registry: Kubernetes hands out the subnets (podCIDRs) and knows when a node is gone; weft adds an annotation for each
 * network. Experimental. No L2 networks: there is no place for blocks and endpoints.
 */

import { checkJoin, checkName } from '../registry/names.ts';
import type { JoinRequest, Member, NetworkState, Registry, Watch, WatchHooks } from '../registry.ts';
import { RegistryError } from '../registry.ts';
import { ApiError, type NodesApi } from './api.ts';
import { annotationOf, checkPods, memberOfNode, stateOf, writeAnnotation } from './members.ts';
import { NodesWatch } from './watch.ts';

export class KubernetesRegistry implements Registry {
  readonly where: string;
  readonly #api: NodesApi;
  readonly #watches = new Set<NodesWatch>();

  constructor(api: NodesApi) {
    this.#api = api;
    this.where = api.where;
  }

  async join(request: JoinRequest): Promise<Member> {
    checkJoin(request);
    const { network, host, pools } = request;
    const node = await this.#asking(host, () => this.#api.get(host));
    checkPods(node, pools);
    const annotation = writeAnnotation(request);
    const key = annotationOf(network);
    const joined =
      node.metadata.annotations?.[key] === annotation
        ? node
        : await this.#asking(host, () => this.#api.annotate(host, { [key]: annotation }));
    const member = memberOfNode(network, joined);
    if (member !== undefined) return member;
    throw new RegistryError('invalid', `${this.where} did not keep annotation ${key} of node ${host}`);
  }

  async leave(network: string, host: string): Promise<void> {
    checkName('network', network);
    try {
      await this.#api.annotate(host, { [annotationOf(network)]: null });
    } catch (error) {
      if (!(error instanceof ApiError && error.code === 404)) throw this.#api.explained(error);
    }
  }

  async extend(): Promise<Member> {
    throw this.#unsupported('a host gets no further blocks');
  }

  async giveBack(): Promise<Member> {
    throw this.#unsupported('a host cannot give back what Kubernetes gave it');
  }

  async publish(_network: string, _host: string, endpoints: readonly unknown[]): Promise<void> {
    if (endpoints.length > 0) throw this.#unsupported('containers cannot be registered');
  }

  async read(network: string): Promise<NetworkState> {
    checkName('network', network);
    const { nodes } = await this.#asking('', () => this.#api.list());
    return stateOf(nodes.flatMap((node) => memberOfNode(network, node) ?? []));
  }

  watch(network: string, hooks: WatchHooks): Watch {
    checkName('network', network);
    const watch = new NodesWatch(this.#api, network, hooks);
    this.#watches.add(watch);
    watch.start();
    return {
      close: () => {
        this.#watches.delete(watch);
        watch.close();
      },
    };
  }

  async close(): Promise<void> {
    for (const watch of this.#watches) watch.close();
    this.#api.close();
  }

  async #asking<T>(host: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (error instanceof ApiError && error.code === 404 && host !== '') {
        throw new RegistryError(
          'invalid',
          `${this.where} has no node ${host}: wanted the name that \`kubectl get nodes\` shows for this host`,
        );
      }
      throw this.#api.explained(error);
    }
  }

  #unsupported(what: string): RegistryError {
    return new RegistryError(
      'invalid',
      `${this.where}: ${what}; L2 networks need a registry in a file or in etcd, L3 backends work with this one`,
    );
  }
}
