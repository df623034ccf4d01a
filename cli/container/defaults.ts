/** Where the root file system of `weft run` comes from, and what it says of the command. */
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { CniError, ErrorCode } from '../../cni/errors.ts';
import type { Maker } from '../../runtime/container/lifecycle.ts';
import type { RootSource } from '../../runtime/container/spec.ts';
import { storeFolder } from '../../runtime/container/store.ts';
import { lowerFolders } from '../../runtime/rootfs/rootfs.ts';
import type { RunFlags } from './flags.ts';
import type { Defaults } from './specification.ts';

/** `DIR` or `DIR:TAG`; a folder with a colon in its name is still found. */
function splitImage(given: string): { layout: string; tag?: string } {
  const colon = given.lastIndexOf(':');
  if (colon <= given.lastIndexOf('/') || existsSync(join(given, 'index.json')))
    return { layout: resolve(given) };
  return { layout: resolve(given.slice(0, colon)), tag: given.slice(colon + 1) };
}

/** Unpacks the image, where one is asked for. Throws CniError. */
export async function defaultsFor(maker: Maker, flags: RunFlags): Promise<Defaults> {
  if (flags.image !== undefined) return await imageDefaults(maker, flags.image, flags.user);
  const root: RootSource =
    flags.rootfs === undefined ? { kind: 'host' } : { kind: 'directory', path: resolve(flags.rootfs) };
  return { root, entrypoint: [], command: [], ...(await userOf(maker, root, flags.user ?? '0:0')), cwd: '/' };
}

async function imageDefaults(maker: Maker, given: string, user: string | undefined): Promise<Defaults> {
  const { readImage } = await import('../../runtime/image/layout.ts');
  const { unpackLayers } = await import('../../runtime/image/layer.ts');
  const { layout, tag } = splitImage(given);
  const { config, layers, manifest, reference } = readImage(layout, tag);
  await unpackLayers(maker.ambient, storeFolder(maker.ambient), layout, layers, maker.monitor);
  if (layers.length === 0) {
    throw new CniError(
      ErrorCode.invalidConfig,
      `the image ${reference} has no layer: there is nothing to run in it`,
    );
  }
  const root: RootSource = {
    kind: 'image',
    layout,
    reference,
    manifest,
    layers: layers.map(({ diffId }) => diffId),
  };
  const account = await userOf(maker, root, user ?? config.user);
  return {
    ...{ root, entrypoint: config.entrypoint, command: config.cmd, cwd: config.workdir, user: account.user },
    env: [...account.env, ...config.env],
  };
}

async function userOf(
  maker: Maker,
  root: RootSource,
  asked: string,
): Promise<Pick<Defaults, 'user' | 'env'>> {
  const { accountOf } = await import('../../runtime/image/users.ts');
  const { uid, gid, groups, home } = accountOf(asked, lowerFolders(root, storeFolder(maker.ambient)));
  return { user: { uid, gid, groups }, env: [`HOME=${home}`] };
}
