/** Where a Kubernetes API is and how it is entered: `kubernetes:///path/of/kubeconfig?context=NAME`, or `kubernetes://` inside a pod. */
import fs from 'node:fs';
import { dirname, isAbsolute, join } from 'node:path';
import type { Tls } from '../http.ts';
import { RegistryError } from '../registry.ts';

export interface Access {
  /** `https://10.0.0.1:6443`, without slash at the end. */
  server: string;
  tls: Tls;
  /** Bearer token, read anew each time: Kubernetes replaces the file. */
  token(): string | undefined;
}

/** Where a pod finds its account (Kubernetes documentation, "Accessing the Kubernetes API from a Pod"). */
const ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount';

/** Throws RegistryError(invalid). */
export async function parseAccess(
  location: string,
  env: Readonly<Record<string, string | undefined>>,
): Promise<Access> {
  const match = /^kubernetes:\/\/([^?#]*)(?:\?context=([^&#]+))?$/i.exec(location);
  const [, path = '', context] = match ?? [];
  if (match === null || (path !== '' && !isAbsolute(path))) {
    throw invalid('wanted kubernetes:///PATH/OF/KUBECONFIG[?context=NAME], or kubernetes:// inside a pod');
  }
  if (path !== '') return fromKubeconfig(path, context && decodeURIComponent(context));
  const [host, port] = [env.KUBERNETES_SERVICE_HOST, env.KUBERNETES_SERVICE_PORT ?? '443'];
  if (host === undefined) {
    throw invalid(
      'this is no pod (KUBERNETES_SERVICE_HOST is not set): wanted kubernetes:///PATH/OF/KUBECONFIG',
    );
  }
  return {
    server: `https://${host.includes(':') ? `[${host}]` : host}:${port}`,
    tls: { ca: read('ca.crt', join(ACCOUNT, 'ca.crt')) },
    token: () => read('token', join(ACCOUNT, 'token')).trim(),
  };
}

type Map_ = Readonly<Record<string, unknown>>;

async function fromKubeconfig(path: string, wanted: string | undefined): Promise<Access> {
  const { parse } = await import('yaml');
  let config: Map_;
  try {
    config = Object(parse(read('kubeconfig', path)));
  } catch (error) {
    if (error instanceof RegistryError) throw error;
    throw invalid(`${path} is no YAML: ${(error as Error).message.split('\n', 1)[0]}`);
  }
  const name = wanted ?? config['current-context'];
  const context = named(path, config, 'contexts', name, 'context');
  const cluster = named(path, config, 'clusters', context.cluster, 'cluster');
  const user = named(path, config, 'users', context.user, 'user');
  const { server } = cluster;
  if (typeof server !== 'string' || !/^https?:\/\//.test(server)) {
    throw invalid(
      `${path}: cluster ${context.cluster}: found server ${JSON.stringify(server)}, wanted https://HOST:PORT`,
    );
  }
  if (user.exec !== undefined || user['auth-provider'] !== undefined) {
    throw invalid(
      `${path}: user ${context.user} is found out by another program: wanted a token or a client certificate`,
    );
  }
  const pem = (from: Map_, key: string) => pemOf(path, from, key);
  const [ca, cert, key] = [
    pem(cluster, 'certificate-authority'),
    pem(user, 'client-certificate'),
    pem(user, 'client-key'),
  ];
  const { token, tokenFile } = user;
  return {
    server: server.replace(/\/+$/, ''),
    tls: {
      ...(ca === undefined ? {} : { ca }),
      ...(cert === undefined ? {} : { cert }),
      ...(key === undefined ? {} : { key }),
    },
    token: () =>
      typeof tokenFile === 'string'
        ? read('tokenFile', tokenFile).trim()
        : typeof token === 'string'
          ? token
          : undefined,
  };
}

/** kubeconfig's lists have entries of a name and what is named. */
function named(path: string, config: Map_, list: string, name: unknown, key: string): Map_ {
  const entries = Array.isArray(config[list]) ? (config[list] as Map_[]) : [];
  const found = entries.find((entry) => entry?.name === name)?.[key];
  if (typeof found === 'object' && found !== null) return found as Map_;
  throw invalid(
    `${path}: ${list}: wanted ${JSON.stringify(name ?? 'current-context')}, found ${entries.map((entry) => entry?.name).join(', ') || 'none'}`,
  );
}

/** As base64 in the file (`-data`), or in a file of its own beside it. */
function pemOf(path: string, from: Map_, key: string): string | undefined {
  const data = from[`${key}-data`];
  if (typeof data === 'string') return Buffer.from(data, 'base64').toString();
  const file = from[key];
  if (typeof file !== 'string') return undefined;
  return read(key, isAbsolute(file) ? file : join(dirname(path), file));
}

function read(what: string, file: string): string {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch (error) {
    throw invalid(`${what} ${file} cannot be read: ${(error as NodeJS.ErrnoException).code}`);
  }
}

function invalid(message: string): RegistryError {
  return new RegistryError('invalid', `registry kubernetes://...: ${message}`);
}
