import type { Ambient } from '../cni/ambient.ts';
import { CniError, ErrorCode } from '../cni/errors.ts';
import type { FirewallBackend } from '../firewall/firewall.ts';
import type { Door, Namespace } from '../netlink/door.ts';
import { codeOf, explainError } from '../plan/failure.ts';
import type { MasqueradeBackend } from '../plan/step.ts';
import type { Surroundings } from '../plan/surroundings.ts';
import { surroundingsOf } from './surroundings.ts';

/** What a plugin's verbs stand on besides their request. */
export interface PluginKit {
  readonly door: Door;
  /** Path of the network namespace that is the host; absent: the caller's own. */
  readonly hostNetns?: string | undefined;
}

/** The namespaces of one call, held open. */
export interface Session extends Surroundings {
  readonly ambient: Ambient;
}

async function openHost({ door, hostNetns }: PluginKit): Promise<Namespace> {
  try {
    return await door.open(hostNetns);
  } catch (error) {
    const code = codeOf(error);
    if (code === undefined) throw error;
    // What is wrong is this installation, not the host.
    if (code === 'ENOPKG' || code === 'ELIBBAD') throw explainError(error);
    const reason = code === 'EPERM' ? 'run as root (CAP_NET_ADMIN is needed)' : code;
    throw new CniError(
      ErrorCode.kernel,
      `cannot open the host's network: ${reason}`,
      error instanceof Error ? error.message : undefined,
      { cause: error },
    );
  }
}

/** `absent`: whether the verb can do without the container's namespace (DEL). */
async function openContainer(
  door: Door,
  netns: string,
  absent: 'tolerated' | 'error',
): Promise<Namespace | undefined> {
  if (netns === '' && absent === 'tolerated') return undefined;
  try {
    return await door.open(netns);
  } catch (error) {
    const code = codeOf(error);
    if (absent === 'tolerated' && (code === 'ENOENT' || code === 'ENOTNS')) return undefined;
    const found = code === 'ENOENT' ? 'nothing is there' : code === 'ENOTNS' ? 'it is something else' : code;
    throw new CniError(
      code === 'EPERM' || code === 'EACCES' ? ErrorCode.kernel : ErrorCode.invalidNamespace,
      `cannot open ${netns} as a network namespace: ${found}`,
      error instanceof Error ? error.message : undefined,
      { cause: error },
    );
  }
}

/** What a verb needs of the container's namespace: GC and STATUS have none. */
export type NetnsUse = { netns: string; absent: 'tolerated' | 'error' } | undefined;

/**
 * Opens the namespaces, runs `work`, and closes them in any case: after what `work` left for the time after the answer, where it
 * succeeded. Throws CniError(invalidNamespace).
 */
export async function withSession<T>(
  kit: PluginKit,
  ambient: Ambient,
  use: NetnsUse,
  work: (session: Session) => Promise<T>,
): Promise<T> {
  const host = await openHost(kit);
  let container: Namespace | undefined;
  const close = () => {
    container?.close();
    host.close();
  };
  const late: (() => Promise<unknown>)[] = [];
  try {
    container = use && (await openContainer(kit.door, use.netns, use.absent));
    const done = await work(sessionOf(ambient, host, container, late));
    if (late.length === 0) close();
    else {
      ambient.afterAnswer?.(async () => {
        try {
          for (const part of late) await part();
        } finally {
          close();
        }
      });
    }
    return done;
  } catch (error) {
    close();
    throw explainError(error);
  }
}

function sessionOf(
  ambient: Ambient,
  host: Namespace,
  container: Namespace | undefined,
  late: (() => Promise<unknown>)[],
): Session {
  const surroundings = surroundingsOf(ambient, host, container);
  const backends = new Map<MasqueradeBackend | undefined, Promise<FirewallBackend>>();
  return {
    ...surroundings,
    ambient,
    firewall(backend) {
      const open = backends.get(backend) ?? surroundings.firewall(backend);
      backends.set(backend, open);
      return open;
    },
    ...(ambient.afterAnswer && { afterwards: (part) => void late.push(part) }),
  };
}
