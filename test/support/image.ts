/**
 * An OCI image made by hand, for tests that have no registry: one layer with a static busybox, in an image layout in a tar
 * file, as `ctr image import`, `podman load` and `skopeo copy` take it.
 */
import { createHash } from 'node:crypto';
import { copyFile, mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { exec } from './host.ts';

/** Fully qualified, so that no client asks a registry which one is meant. */
export const IMAGE = 'localhost/weft-test:1';

const APPLETS = ['sh', 'sleep', 'cat', 'ip', 'ping', 'ping6', 'ls', 'wget', 'nc', 'true'];

/** Builds the image below `folder` and returns the tar's path. Its default command sleeps for ever. */
export async function buildImage(folder: string): Promise<string> {
  const rootfs = join(folder, 'rootfs');
  const layout = join(folder, 'layout');
  const blobs = join(layout, 'blobs', 'sha256');
  for (const dir of ['bin', 'etc', 'proc', 'sys', 'dev', 'tmp']) {
    await mkdir(join(rootfs, dir), { recursive: true });
  }
  await mkdir(blobs, { recursive: true });
  await copyFile('/bin/busybox', join(rootfs, 'bin', 'busybox'));
  for (const applet of APPLETS) await symlink('busybox', join(rootfs, 'bin', applet));
  await writeFile(join(rootfs, 'etc', 'passwd'), 'root:x:0:0:root:/:/bin/sh\n');

  const put = async (mediaType: string, bytes: Buffer) => {
    const hex = createHash('sha256').update(bytes).digest('hex');
    await writeFile(join(blobs, hex), bytes);
    return { mediaType, digest: `sha256:${hex}`, size: bytes.length };
  };
  const putJson = (mediaType: string, value: object) => put(mediaType, Buffer.from(JSON.stringify(value)));

  const layerTar = join(folder, 'layer.tar');
  await tar(layerTar, rootfs);
  const layer = await put('application/vnd.oci.image.layer.v1.tar', await readFile(layerTar));
  const config = await putJson('application/vnd.oci.image.config.v1+json', {
    // The names of Go's architectures, which containers use, differ from Node's in these.
    architecture: { x64: 'amd64', ia32: '386' }[process.arch as string] ?? process.arch,
    os: 'linux',
    config: { Env: ['PATH=/bin'], Cmd: ['/bin/sleep', '1000000'] },
    rootfs: { type: 'layers', diff_ids: [layer.digest] },
  });
  const manifest = await putJson('application/vnd.oci.image.manifest.v1+json', {
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    config,
    layers: [layer],
  });
  const annotations = { 'io.containerd.image.name': IMAGE, 'org.opencontainers.image.ref.name': IMAGE };
  await writeFile(join(layout, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }));
  await writeFile(
    join(layout, 'index.json'),
    JSON.stringify({ schemaVersion: 2, manifests: [{ ...manifest, annotations }] }),
  );
  const image = join(folder, 'image.tar');
  await tar(image, layout);
  for (const done of [rootfs, layout]) await rm(done, { recursive: true });
  return image;
}

async function tar(file: string, folder: string): Promise<void> {
  await exec('tar', ['--owner=0', '--group=0', '--mtime=@0', '--sort=name', '-cf', file, '-C', folder, '.']);
}
