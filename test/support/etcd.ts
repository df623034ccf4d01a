/** A real etcd for a test that runs inside a network namespace of its own (test/support/in-namespace.ts): on its loopback, in a temporary folder. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { exec, type Teardown } from './host.ts';
import { until } from './until.ts';

export interface Etcd {
  /** `127.0.0.1:2379` and, for what can be cut off alone, `127.0.0.2:2379`. */
  readonly address: string;
  readonly other: string;
  readonly folder: string;
  /** SIGSTOP, SIGCONT. */
  stop(): void;
  resume(): void;
  /** SIGKILL; resolves when it has ended. */
  kill(): Promise<void>;
  /** On the same data, with what was given at first and these arguments. Resolves when it answers. */
  start(...more: string[]): Promise<void>;
  /** As start(), without waiting. */
  launch(...more: string[]): void;
  etcdctl(...args: string[]): Promise<string>;
  /** Throws when it does not. */
  answers(): Promise<boolean>;
}

export interface EtcdOptions {
  /** Of clients; the next one is for its peers. Several on one loopback differ. */
  port?: number;
  /** Name and `--initial-cluster` of a cluster. */
  cluster?: { name: string; members: string };
  /** Certificate files. */
  tls?: { ca: string; cert: string; key: string };
}

const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** Starts an etcd; it ends with the test, by its process id. */
export async function makeEtcd(t: Teardown, options: EtcdOptions = {}): Promise<Etcd> {
  const folder = await mkdtemp(join(tmpdir(), 'weft-t-etcd-'));
  t.teardown(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }));
  const etcd = new EtcdProcess(folder, options);
  t.teardown(() => etcd.kill());
  if (options.cluster === undefined) await etcd.start();
  else etcd.launch();
  return etcd;
}

class EtcdProcess implements Etcd {
  readonly address: string;
  readonly other: string;
  readonly folder: string;
  readonly #options: EtcdOptions;
  readonly #port: number;
  #child: ChildProcess | undefined;
  #ended: Promise<void> = Promise.resolve();

  constructor(folder: string, options: EtcdOptions) {
    this.folder = folder;
    this.#options = options;
    this.#port = options.port ?? 2379;
    this.address = `127.0.0.1:${this.#port}`;
    this.other = `127.0.0.2:${this.#port}`;
  }

  async start(...more: string[]): Promise<void> {
    this.launch(...more);
    await until(`etcd at ${this.address} answers`, () => this.answers(), 30_000).catch(
      async (error: unknown) => {
        const log = await readFile(join(this.folder, 'log'), 'utf8');
        throw new Error(`etcd did not start: ${log.slice(-2000)}`, { cause: error });
      },
    );
  }

  async answers(): Promise<boolean> {
    await this.etcdctl('endpoint', 'health');
    return true;
  }

  launch(...more: string[]): void {
    // Ends with the test also when that is killed.
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', 'etcd', ...this.#args(), ...more], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { PATH },
    });
    const log = createWriteStream(join(this.folder, 'log'), { flags: 'a' });
    child.stdout?.pipe(log);
    child.stderr?.pipe(log);
    this.#child = child;
    this.#ended = new Promise((resolve) => child.once('close', () => resolve()));
  }

  #args(): string[] {
    const { tls, cluster } = this.#options;
    const scheme = tls === undefined ? 'http' : 'https';
    const peer = `http://127.0.0.1:${this.#port + 1}`;
    const name = cluster?.name ?? 'one';
    // biome-ignore format: one option with its value per line says more
    return [
      '--name', name,
      '--data-dir', join(this.folder, 'data'),
      '--listen-client-urls', `${scheme}://${this.address},${scheme}://${this.other}`,
      '--advertise-client-urls', `${scheme}://${this.address}`,
      '--listen-peer-urls', peer,
      '--initial-advertise-peer-urls', peer,
      '--initial-cluster', cluster?.members ?? `${name}=${peer}`,
      // Short, so that tests are; what a lease can be at least follows from it. A cluster on a busy machine needs more.
      '--heartbeat-interval', cluster === undefined ? '20' : '100',
      '--election-timeout', cluster === undefined ? '200' : '1000',
      // Killed processes lose nothing by it, only machines would; and a busy disk makes elections fail.
      '--unsafe-no-fsync',
      '--log-level', 'warn',
      ...(tls === undefined ? [] : [
        '--cert-file', tls.cert, '--key-file', tls.key, '--trusted-ca-file', tls.ca, '--client-cert-auth',
      ]),
    ];
  }

  stop(): void {
    this.#child?.kill('SIGSTOP');
  }

  resume(): void {
    this.#child?.kill('SIGCONT');
  }

  async kill(): Promise<void> {
    this.#child?.kill('SIGKILL');
    await this.#ended;
  }

  async etcdctl(...args: string[]): Promise<string> {
    const { tls } = this.#options;
    const secure = tls === undefined ? [] : ['--cacert', tls.ca, '--cert', tls.cert, '--key', tls.key];
    const endpoint = `--endpoints=${tls === undefined ? 'http' : 'https'}://${this.address}`;
    const env = { ETCDCTL_API: '3' };
    // Its own patience is five seconds; who asks whether it is there asks again.
    const patience = args[0] === 'endpoint' ? [] : ['--command-timeout=60s'];
    return (await exec('etcdctl', [endpoint, ...secure, ...patience, ...args], { env })).stdout;
  }
}

export interface Certificates {
  ca: string;
  /** Serves at 127.0.0.1 and asks; without a common name. */
  cert: string;
  key: string;
  /** Asks, and has a common name. */
  named: { cert: string; key: string };
}

/** Writes a certificate authority and two certificates of its own into a folder; returns the paths. */
export async function makeCertificates(folder: string): Promise<Certificates> {
  const at = (name: string) => join(folder, name);
  const ec = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
  const authority = ['-subj', '/O=weft/CN=weft test', '-keyout', at('ca.key'), '-out', at('ca.pem')];
  await exec('openssl', ['req', '-x509', ...ec, ...authority]);
  const make = async (name: string, subject: string) => {
    const names = [
      '-addext',
      'subjectAltName=IP:127.0.0.1',
      '-addext',
      'extendedKeyUsage=serverAuth,clientAuth',
    ];
    const by = ['-CA', at('ca.pem'), '-CAkey', at('ca.key')];
    const out = { cert: at(`${name}.pem`), key: at(`${name}.key`) };
    await exec('openssl', [
      ...['req', '-x509', ...ec, '-subj', subject, ...names, ...by],
      ...['-keyout', out.key, '-out', out.cert],
    ]);
    return out;
  };
  return {
    ca: at('ca.pem'),
    ...(await make('host', '/O=weft')),
    named: await make('named', '/O=weft/CN=weft'),
  };
}
