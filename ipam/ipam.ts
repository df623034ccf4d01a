import type { Ambient } from '../cni/ambient.ts';
import type { AttachmentId, Dns, IpConfig, Result, Route } from '../cni/types.ts';

/** What IPAM answers to ADD: no interfaces (SPEC 1.1, section 5). */
export interface IpamResult {
  ips: IpConfig[];
  routes: Route[];
  dns: Dns;
  /**
   * The attachment held (some of) these addresses before this ADD, which repeats one that was cut short, or one that
   * succeeded. Then a failed ADD must not release them when it is undone: they may be a running container's.
   */
  adopted?: boolean;
}

/** What an IPAM is asked with; `config` is the whole network configuration, `config.ipam` its own part. */
export interface IpamRequest {
  /** The whole configuration, keys folded to their declared spelling, nulls removed. */
  config: IpamNetConf;
  id: AttachmentId;
  /** CNI_ARGS, parsed. */
  args: Readonly<Record<string, string>>;
  prevResult?: Result | undefined;
  /** Path of the container's network namespace; for what is asked by means of its link. */
  netns?: string;
  ambient: Ambient;
}

export interface IpamNetConf {
  cniVersion: string;
  name: string;
  ipam: { type: string; [key: string]: unknown };
  args?: { cni?: Record<string, unknown> } | undefined;
  runtimeConfig?: Record<string, unknown> | undefined;
  [key: string]: unknown;
}

/** An address management that runs in the plugin's own process. Every method throws CniError. */
export interface Ipam {
  readonly type: string;
  /** Pure: throws invalidConfig when the `ipam` part cannot work, before anything is touched. */
  validate(config: IpamNetConf): void;
  add(request: IpamRequest): Promise<IpamResult>;
  /** Throws checkFailed when what prevResult has is not reserved for this attachment. */
  check(request: IpamRequest): Promise<void>;
  /** Repeatable. Returns the addresses (without prefix length) that it released. */
  del(request: IpamRequest): Promise<string[]>;
  /** Releases what belongs to this network and to none of the valid attachments; returns the addresses. */
  gc(request: Omit<IpamRequest, 'id'>, valid: readonly AttachmentId[]): Promise<string[]>;
  /** Throws notAvailable when no ADD can succeed (no address left). */
  status(request: Omit<IpamRequest, 'id'>): Promise<void>;
}
