/** `etcd://host:port[,host:port...]/prefix?...`: what of it means what. */
import { RegistryError } from '../registry.ts';

export interface EtcdLocation {
  /** `http://10.0.0.1:2379`, in the order they were given. */
  endpoints: readonly string[];
  /** Of all keys; begins with `/`, ends without. */
  prefix: string;
  /** Paths of PEM files. */
  ca?: string;
  cert?: string;
  key?: string;
  user?: string;
  /** Path; its first line is the password. */
  passwordFile?: string;
  /** Seconds that a host keeps what it holds after its last sign of life. */
  ttl: number;
  /** Seconds for one request to one endpoint, and between questions whether a silent watch lives. */
  timeout: number;
}

/** The variable that has the password, when no file has it. */
export const PASSWORD_VARIABLE = 'WEFT_ETCD_PASSWORD';

const DEFAULT_PORT = 2379;
const DEFAULT_PREFIX = '/weft';
/**
 * A day. While etcd is down nobody's time runs, and every new leader gives all their full time again; it runs for a host that alone is cut off. Its
 * containers keep their network meanwhile, so that nobody must get its subnet soon; a host that died without leaving blocks a subnet as long.
 */
const DEFAULT_TTL = 24 * 60 * 60;
const DEFAULT_TIMEOUT = 5;
const PARAMETERS = ['ca', 'cert', 'key', 'user', 'password-file', 'ttl', 'timeout'] as const;

/** Throws RegistryError(invalid). */
export function parseEtcdLocation(location: string): EtcdLocation {
  const match = /^etcd(\+tls)?:\/\/([^/?#]*)([^?#]*)(?:\?([^#]*))?$/i.exec(location);
  const fail = (message: string): never => {
    throw new RegistryError('invalid', `registry etcd://...: ${message}`);
  };
  if (match === null)
    return fail('wanted etcd://HOST:PORT[,HOST:PORT...][/PREFIX][?ca=FILE&cert=FILE&key=FILE&user=NAME]');
  const [, tls, authority = '', path = '', query = ''] = match;
  if (authority.includes('@')) {
    fail(
      `a password in the location is seen by everybody on the host: wanted user=NAME, and password-file=FILE or ${PASSWORD_VARIABLE} in the environment`,
    );
  }
  const parameters = new URLSearchParams(query);
  const unknown = [...parameters.keys()].find((key) => !(PARAMETERS as readonly string[]).includes(key));
  if (unknown === 'password')
    fail(`wanted password-file=FILE or ${PASSWORD_VARIABLE} in the environment, found password=...`);
  if (unknown !== undefined) fail(`found parameter "${unknown}", wanted one of ${PARAMETERS.join(', ')}`);
  const value = (key: (typeof PARAMETERS)[number]) => parameters.get(key) || undefined;
  const [ca, cert, key, user, passwordFile] = [
    value('ca'),
    value('cert'),
    value('key'),
    value('user'),
    value('password-file'),
  ];
  if ((cert === undefined) !== (key === undefined)) fail('cert and key belong together, found one of them');
  if (passwordFile !== undefined && user === undefined) fail('found password-file without user');
  const secure = tls !== undefined || ca !== undefined || cert !== undefined;
  const endpoints = authority.split(',').map((text) => endpointOf(text, secure, fail));
  const prefix = path.replace(/\/+$/, '') || DEFAULT_PREFIX;
  if (!/^(\/[A-Za-z0-9_.-]+)+$/.test(prefix)) fail(`found prefix "${path}", wanted /NAME[/NAME...]`);
  return {
    endpoints,
    prefix,
    ttl: secondsOf('ttl', value('ttl'), DEFAULT_TTL, fail),
    timeout: secondsOf('timeout', value('timeout'), DEFAULT_TIMEOUT, fail),
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined || key === undefined ? {} : { cert, key }),
    ...(user === undefined ? {} : { user }),
    ...(passwordFile === undefined ? {} : { passwordFile }),
  };
}

function endpointOf(text: string, secure: boolean, fail: (message: string) => never): string {
  const match = /^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)(?::(\d{1,5}))?$/.exec(text);
  const port = Number(match?.[2] ?? DEFAULT_PORT);
  if (match === null || port < 1 || port > 65535) {
    return fail(
      `found "${text}", wanted HOST:PORT (an IPv6 address in brackets), several separated by commas`,
    );
  }
  return `${secure ? 'https' : 'http'}://${match[1]}:${port}`;
}

function secondsOf(
  key: string,
  text: string | undefined,
  usual: number,
  fail: (message: string) => never,
): number {
  if (text === undefined) return usual;
  if (!/^\d{1,9}$/.test(text) || Number(text) < 1) return fail(`found ${key}=${text}, wanted seconds from 1`);
  return Number(text);
}
