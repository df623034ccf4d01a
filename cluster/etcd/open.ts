/** From an etcd location to its store: reads the files that the location names. */
import fs from 'node:fs';
import type { Tls } from '../http.ts';
import { RegistryError } from '../registry.ts';
import { EtcdClient } from './client.ts';
import { EtcdStore, type EtcdStoreOptions } from './etcd-store.ts';
import { type EtcdLocation, PASSWORD_VARIABLE, parseEtcdLocation } from './location.ts';

/** Throws RegistryError(invalid). The location's prefix, and how long what is registered lasts, follow from the text. */
export function openEtcd(
  location: string,
  env: Readonly<Record<string, string | undefined>>,
  hooks: Pick<EtcdStoreOptions, 'renewed' | 'expired'>,
): EtcdStore {
  const { endpoints, prefix, ttl, timeout, user, ...files } = parseEtcdLocation(location);
  const tls = tlsOf(files);
  const password = user === undefined ? undefined : passwordOf(user, files.passwordFile, env);
  const client = new EtcdClient({
    endpoints,
    patience: timeout * 1000,
    ...(tls === undefined ? {} : { tls }),
    ...(user === undefined || password === undefined ? {} : { user, password }),
  });
  return new EtcdStore({ client, prefix, ttl, ...hooks });
}

function tlsOf({ ca, cert, key }: Pick<EtcdLocation, 'ca' | 'cert' | 'key'>): Tls | undefined {
  if (ca === undefined && cert === undefined) return undefined;
  return {
    ...(ca === undefined ? {} : { ca: read('ca', ca) }),
    ...(cert === undefined ? {} : { cert: read('cert', cert) }),
    ...(key === undefined ? {} : { key: read('key', key) }),
  };
}

function passwordOf(
  user: string,
  file: string | undefined,
  env: Readonly<Record<string, string | undefined>>,
): string {
  if (file !== undefined) return read('password-file', file).split('\n', 1)[0] ?? '';
  const found = env[PASSWORD_VARIABLE];
  if (found !== undefined) return found;
  throw new RegistryError(
    'invalid',
    `registry etcd://...: user ${user} has no password: wanted password-file=FILE, or ${PASSWORD_VARIABLE} in the environment`,
  );
}

function read(parameter: string, file: string): string {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new RegistryError('invalid', `registry etcd://...: ${parameter}=${file} cannot be read: ${code}`, {
      cause: error,
    });
  }
}
