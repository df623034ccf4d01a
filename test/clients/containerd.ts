/** A containerd of its own on a simulated host. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ExecOptions, Host } from '../support/host.ts';
import { buildImage, IMAGE } from '../support/image.ts';
import { until } from '../support/until.ts';

export interface Containerd {
  readonly address: string;
  /** Runs `ctr` in containerd's default namespace. */
  ctr(args: readonly string[], options?: ExecOptions): Promise<string>;
}

/**
 * Starts containerd, waits until it serves, and gives the image to one of its own namespaces: `k8s.io` is the CRI's;
 * with `ctr` the namespace names the cgroups, too, and the ids that plugins get begin with it.
 * @param runtime the OCI runtime of the CRI's containers
 */
export async function startContainerd(host: Host, namespace: string, runtime = 'runc'): Promise<Containerd> {
  const folder = join(host.root, 'containerd');
  const address = join(folder, 'containerd.sock');
  const config = join(host.root, 'containerd.toml');
  await writeFile(config, configuration(folder, address, host.dirs, runtime));
  await host.daemon('containerd', 'containerd', ['--config', config, '--log-level', 'warn']);
  const ctr = async (args: readonly string[], options?: ExecOptions) =>
    (await host.exec('ctr', ['--address', address, '--namespace', namespace, ...args], options)).stdout;
  await until('containerd serves', () => ctr(['version']));
  await ctr(['image', 'import', await buildImage(host.root)]);
  return { address, ctr };
}

// `restrict_oom_score_adj`: a host without CAP_SYS_RESOURCE may not lower the score.
const configuration = (folder: string, address: string, dirs: Host['dirs'], runtime: string) => `
version = 2
root = "${folder}/root"
state = "${folder}/state"
[grpc]
  address = "${address}"
[ttrpc]
  address = "${address}.ttrpc"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${IMAGE}"
  netns_mounts_under_state_dir = true
  restrict_oom_score_adj = true
  disable_tcp_service = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "${dirs.bin}"
    conf_dir = "${dirs.conf}"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      BinaryName = "${runtime}"
[plugins."io.containerd.internal.v1.opt"]
  path = "${folder}/opt"
`;
