/** A container's networks: the caller's half of the specification for each, in the order of its interfaces. */
import type { Ambient } from '../../cni/ambient.ts';
import { CniError } from '../../cni/errors.ts';
import { listCached } from '../cache.ts';
import { addNetwork, assertInstalled, delNetwork } from '../chain.ts';
import { findNetwork } from '../conf-dir.ts';
import { type NetworkList, parseNetworkList } from '../conflist.ts';
import type { Caller, RawResult, Sandbox } from '../execution.ts';
import { DEMO_NETWORK, demoNetwork } from './demo-network.ts';
import type { ContainerSpec } from './spec.ts';

/** One network that a container is attached to. */
export interface Attached {
  network: string;
  ifname: string;
  result: RawResult;
}

const interfaceName = (index: number) => `eth${index}`;

/** A network of the host by its name or file, or the one that every host has. Throws CniError. */
async function networkNamed(name: string, ambient: Ambient): Promise<NetworkList> {
  try {
    return await findNetwork(name, ambient.paths.confDir, (words) => ambient.log(`weft: warning: ${words}`));
  } catch (error) {
    if (name === DEMO_NETWORK)
      return await parseNetworkList(JSON.stringify(demoNetwork), 'the built-in network');
    throw error;
  }
}

/** The networks that a container is to be attached to, read and with their plugins found. Throws CniError. */
export async function networksOf(caller: Caller, spec: ContainerSpec): Promise<NetworkList[]> {
  const lists = [];
  for (const name of spec.networks) {
    const list = await networkNamed(name, caller.ambient);
    assertInstalled(caller, list);
    lists.push(list);
  }
  return lists;
}

function sandboxOf(spec: ContainerSpec, index: number, netns: string): Sandbox {
  const { id, name, ports, dns } = spec;
  return {
    containerId: id,
    ifname: interfaceName(index),
    netns,
    args: [
      ['IgnoreUnknown', '1'],
      ['K8S_POD_NAME', name],
    ],
    capabilityArgs: {
      // Ports lead to one interface: the first.
      ...(index === 0 && ports.length > 0 && { portMappings: ports }),
      ...(dns.length > 0 && { dns: { servers: dns } }),
      aliases: [name],
    },
  };
}

/** ADD of all, in order. After an error what was added is taken away again. Throws CniError. */
export async function attach(
  caller: Caller,
  spec: ContainerSpec,
  lists: readonly NetworkList[],
  pid: number,
): Promise<Attached[]> {
  const attached: Attached[] = [];
  for (const [index, list] of lists.entries()) {
    const sandbox = sandboxOf(spec, index, `/proc/${pid}/ns/net`);
    try {
      const result = await addNetwork(caller, list, sandbox);
      attached.push({ network: list.name, ifname: sandbox.ifname, result });
    } catch (error) {
      await delNetwork(caller, list, sandbox, 'go on').catch((undo: Error) =>
        caller.ambient.log(undo.message),
      );
      await detach(caller, spec.id);
      throw error;
    }
  }
  return attached;
}

/**
 * DEL of everything that the result cache knows of a container; its namespace is gone or goes, so none is named: a process id may
 * be somebody else's by now. Returns the errors; what failed is kept for the next time.
 */
export async function detach(caller: Caller, id: string): Promise<CniError[]> {
  const errors: CniError[] = [];
  const mine = listCached(caller.ambient.paths.cacheDir).filter(({ containerId }) => containerId === id);
  for (const { network, ifname, config } of mine.toReversed()) {
    try {
      const list = await parseNetworkList(config ?? '', `the cached configuration of ${network}`);
      await delNetwork(caller, list, { containerId: id, ifname, netns: '', args: [], capabilityArgs: {} });
    } catch (error) {
      if (!(error instanceof CniError)) throw error;
      errors.push(error);
    }
  }
  return errors;
}

/**
 * DEL of the networks of a container whose maker was killed before its command began: an ADD that was under way may have taken addresses
 * and said so nowhere. Returns the errors; a network that is not there any more has nothing.
 */
export async function detachUnfinished(caller: Caller, { id, networks }: ContainerSpec): Promise<CniError[]> {
  const errors: CniError[] = [];
  for (const [index, name] of [...networks.entries()].toReversed()) {
    const list = await networkNamed(name, caller.ambient).catch(() => undefined);
    if (list === undefined) continue;
    const sandbox = {
      containerId: id,
      ifname: interfaceName(index),
      netns: '',
      args: [],
      capabilityArgs: {},
    };
    try {
      await delNetwork(caller, list, sandbox, 'go on');
    } catch (error) {
      if (!(error instanceof CniError)) throw error;
      errors.push(error);
    }
  }
  return errors;
}
