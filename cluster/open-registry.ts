/** From what `--registry` says to the registry. Each kind loads its own code only. */
import { statSync } from 'node:fs';
import { dirname, isAbsolute } from 'node:path';
import { type RegistrationHooks, StoredRegistry } from './registry/stored-registry.ts';
import { type Registry, RegistryError } from './registry.ts';

export interface RegistryOptions {
  /** Environment of the process: passwords, and where a Kubernetes pod finds its API. */
  env: Readonly<Record<string, string | undefined>>;
  /** A registry that forgets hosts which give no sign of life (etcd) tells what becomes of this one. */
  hooks?: Partial<RegistrationHooks>;
}

const KINDS =
  'wanted the absolute path of a YAML file, etcd://HOST:PORT[,HOST:PORT...][/PREFIX] (etcd+tls:// with TLS), or kubernetes://';

/**
 * Opens a registry; nothing is asked yet, so that a registry which is away is no error here. A file need not exist, but its folder must:
 * who mistypes a path, or has not mounted it, would be alone in a registry of his own. Throws RegistryError(invalid) that names what is
 * wrong with the location.
 */
export async function openRegistry(location: string, options: RegistryOptions): Promise<Registry> {
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(location)?.[1]?.toLowerCase();
  const ignore = () => {};
  const hooks: RegistrationHooks = { renewed: ignore, restored: ignore, gone: ignore, ...options.hooks };
  switch (scheme) {
    case undefined:
    case 'file':
      return openFile(scheme === undefined ? location : location.slice('file://'.length), location, hooks);
    case 'etcd':
    case 'etcd+tls': {
      const { openEtcd } = await import('./etcd/open.ts');
      const { renewed } = hooks;
      return new StoredRegistry((expired) => openEtcd(location, options.env, { renewed, expired }), hooks);
    }
    case 'kubernetes': {
      const { parseAccess } = await import('./kubernetes/access.ts');
      const { NodesApi } = await import('./kubernetes/api.ts');
      const { KubernetesRegistry } = await import('./kubernetes/kubernetes-registry.ts');
      return new KubernetesRegistry(new NodesApi(await parseAccess(location, options.env)));
    }
    default:
      throw invalid(location);
  }
}

async function openFile(path: string, location: string, hooks: RegistrationHooks): Promise<Registry> {
  if (!isAbsolute(path)) throw invalid(location);
  if (isFolder(path)) throw new RegistryError('invalid', `registry file ${path}: is a folder, wanted a file`);
  const folder = dirname(path);
  if (!isFolder(folder)) {
    throw new RegistryError('invalid', `registry file ${path}: there is no folder ${folder}: is it mounted?`);
  }
  const { FileStore } = await import('./file/file-store.ts');
  return new StoredRegistry(() => new FileStore(path), hooks);
}

/** False where that cannot be seen, too. */
function isFolder(path: string): boolean {
  try {
    return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
  } catch {
    return false;
  }
}

function invalid(location: string): RegistryError {
  // A location may have a password where it does not belong: it is not repeated.
  return new RegistryError('invalid', `registry "${location.replace(/\/\/[^/@]*@/, '//...@')}": ${KINDS}`);
}
