/** A Podman of its own, with the CNI backend, on a simulated host. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Host, Teardown } from '../support/host.ts';
import { buildImage, IMAGE } from '../support/image.ts';

export interface Podman {
  /** Runs one podman command and returns what it printed. */
  podman(...args: string[]): Promise<string>;
  /** `podman run --detach` with these options, the test image and its command that sleeps; returns the container's id. */
  run(...options: string[]): Promise<string>;
  /** `podman inspect` of one container or network. */
  // biome-ignore lint/suspicious/noExplicitAny: the output of another program, whose shape the assertion is about
  inspect(what: 'container' | 'network', name: string): Promise<any>;
}

/** Gives Podman its folders and the image. It keeps its networks in the host's `dirs.conf`. */
export async function setUpPodman(t: Teardown, host: Host): Promise<Podman> {
  const folder = join(host.root, 'podman');
  await mkdir(join(folder, 'tmp'), { recursive: true });
  const config = join(folder, 'containers.conf');
  await writeFile(config, configuration(folder, host.dirs));
  const storage = join(folder, 'storage.conf');
  await writeFile(
    storage,
    `[storage]\ndriver = "overlay"\nrunroot = "${folder}/run"\ngraphroot = "${folder}/root"\n`,
  );
  const env = {
    CONTAINERS_CONF: config,
    CONTAINERS_STORAGE_CONF: storage,
    HOME: folder,
    TMPDIR: `${folder}/tmp`,
  };
  const flags = ['--root', join(folder, 'root'), '--runroot', join(folder, 'run')];
  const podman = async (...args: string[]) =>
    (await host.exec('podman', [...flags, ...args], { env })).stdout;
  await podman('load', '--quiet', '--input', await buildImage(host.root));
  // The names of the containers' namespaces are in /run/netns, which outlives the host.
  t.teardown(async () => {
    await podman('rm', '--all', '--force', '--time', '0');
  });
  return {
    podman,
    run: (...options) => podman('run', '--detach', '--cgroup-parent', `/${host.name}`, ...options, IMAGE),
    inspect: async (what, name) => JSON.parse(await podman(what, 'inspect', name))[0],
  };
}

// cgroup v1 hosts without systemd, and without the right to raise limits, need the host's cgroups and limits.
const configuration = (folder: string, dirs: Host['dirs']) => `
[containers]
cgroupns = "host"
default_ulimits = ["nofile=20000:20000", "nproc=32768:32768"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
static_dir = "${folder}/static"
tmp_dir = "${folder}/libpod"
volume_path = "${folder}/volumes"
[network]
network_backend = "cni"
cni_plugin_dirs = ["${dirs.bin}"]
network_config_dir = "${dirs.conf}"
default_network = "podman"
`;
