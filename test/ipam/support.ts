/** Surroundings for IPAM: a folder of its own, a real flock, and configurations. */
import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Ambient } from '../../cni/ambient.ts';
import type { Result } from '../../cni/types.ts';
import type { IpamNetConf, IpamRequest } from '../../ipam/ipam.ts';
import * as files from '../../netlink/files.ts';
import { lock } from '../../netlink/lock.ts';

export const REFERENCE = '/usr/lib/cni/host-local';
export const NETWORK = 'net';

export interface World {
  /** Root of everything below. */
  dir: string;
  dataDir: string;
  runDir: string;
  /** Where the leases of NETWORK are. */
  leases: string;
  ambient: Ambient;
  logs: string[];
}

export function world(t: { teardown(fn: () => void): void }): World {
  const dir = mkdtempSync(path.join(tmpdir(), 'weft-ipam-'));
  t.teardown(() => rmSync(dir, { recursive: true, force: true }));
  return worldAt(dir);
}

export function worldAt(dir: string): World {
  const logs: string[] = [];
  const dataDir = path.join(dir, 'data');
  const runDir = path.join(dir, 'run');
  const ambient: Ambient = {
    env: {},
    paths: { dataDir, runDir, cacheDir: path.join(dir, 'cache'), confDir: path.join(dir, 'conf') },
    input: async () => '',
    log: (line) => logs.push(line),
    now: () => Date.now(),
    hostId: () => 'host',
    lock,
    files,
    run: async () => {
      throw new Error('IPAM runs no program');
    },
  };
  return { dir, dataDir, runDir, leases: path.join(dataDir, NETWORK), ambient, logs };
}

export function conf(ipam: object, more: object = {}): IpamNetConf {
  return {
    cniVersion: '1.1.0',
    name: NETWORK,
    type: 'bridge',
    ipam: { type: 'host-local', ...ipam },
    ...more,
  } as IpamNetConf;
}

export function request(
  { ambient }: World,
  config: IpamNetConf,
  containerId = 'c1',
  more: Partial<IpamRequest> = {},
): IpamRequest {
  return { config, id: { containerId, ifname: 'eth0' }, args: {}, ambient, ...more };
}

export function resultOf(ips: readonly string[]): Result {
  return { interfaces: [], ips: ips.map((address) => ({ address })), routes: [], dns: {} };
}

/** Empty, or a lease of nobody: what is kept of a released lease for the next one. */
export const SPARE = '.weft-lease';

/** The lease files of the network, without lock, round robin and spare. */
export function leaseFiles({ leases }: World): string[] {
  return readdirSync(leases)
    .filter((name) => name !== 'lock' && name !== SPARE && !name.startsWith('last_reserved_ip.'))
    .sort();
}

export interface ReferenceAnswer {
  status: number;
  ips: string[];
  stdout: string;
}

/** Runs Debian's host-local on the same folder. */
export function reference(
  { dataDir }: World,
  command: 'ADD' | 'DEL' | 'CHECK',
  config: IpamNetConf,
  containerId: string,
  ifname = 'eth0',
): Promise<ReferenceAnswer> {
  const text = JSON.stringify({ ...config, cniVersion: '1.0.0', ipam: { dataDir, ...config.ipam } });
  const env = {
    CNI_COMMAND: command,
    CNI_CONTAINERID: containerId,
    CNI_IFNAME: ifname,
    CNI_NETNS: '/none',
    CNI_PATH: '/usr/lib/cni',
  };
  return new Promise((resolve) => {
    const child = execFile(REFERENCE, { env }, (error, stdout) => {
      const answer = stdout === '' ? {} : (JSON.parse(stdout) as { ips?: { address: string }[] });
      const ips = (answer.ips ?? []).map(({ address }) => address);
      resolve({ status: error === null ? 0 : 1, ips, stdout });
    });
    child.stdin?.end(text);
  });
}

/** The error that a promise or a function ends with. */
export async function errorOf(work: () => unknown): Promise<{ code: number; message: string }> {
  try {
    await work();
  } catch (error) {
    return error as { code: number; message: string };
  }
  return { code: 0, message: 'no error' };
}
