/** Whose something is: told from names, comments and marks in the kernel, never from files of ours alone. */

export interface Owner {
  /**
   * `weft`, or whom the names point at: `docker`, `kube-proxy`, `cni` (the reference plugins), `firewalld`, `libvirt`, `calico`,
   * `cilium`, `flannel`, `ufw`, ...; `somebody else` where nothing points at anybody.
   */
  who: string;
  /** Of what is made for a network. */
  network?: string;
  /** Of what is made for one attachment. */
  containerId?: string;
  ifname?: string;
  /** The plugin that makes such a thing: `portmap`. */
  plugin?: string;
}

/** Where nothing points at anybody. */
export const NOBODY: Owner = { who: 'somebody else' };
