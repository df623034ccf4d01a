/** A container's root file system: an overlay whose upper layer is the container's own, so that nothing below is ever changed. */
import { chownSync, existsSync, mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { CniError, ErrorCode } from '../../cni/errors.ts';
import type { ContainerSpec, RootSource } from '../container/spec.ts';
import type { Step } from '../container/steps.ts';

/** Where what a container writes is kept. */
export const writtenFolder = (store: string, id: string) => join(store, 'containers', id);
/** An unpacked layer of an image. */
export const layerFolder = (store: string, digest: string) =>
  join(store, 'layers', digest.replace(':', '-'), 'files');

export interface RootFileSystem {
  /** The monitor's: they leave the file system mounted at `root`. */
  rootSteps: Step[];
  root: string;
}

/** What stands below the container's own layer, the uppermost first, as overlayfs wants it. */
export function lowerFolders(source: RootSource, store: string): string[] {
  if (source.kind === 'host') return ['/'];
  if (source.kind === 'directory') return [source.path];
  return source.layers.toReversed().map((digest) => layerFolder(store, digest));
}

const foldersOf = (spec: ContainerSpec, folder: string, store: string) => {
  const written = writtenFolder(store, spec.id);
  return { root: join(folder, 'root'), upper: join(written, 'upper'), work: join(written, 'work') };
};

/** Makes the folders; mounts nothing. Throws CniError(invalidConfig) when there is no such directory, (io). */
export function prepareRoot(spec: ContainerSpec, folder: string, store: string): void {
  for (const one of lowerFolders(spec.root, store)) assertFolder(one);
  const { root, upper, work } = foldersOf(spec, folder, store);
  mkdirSync(root, { mode: 0o755 });
  for (const one of [upper, work]) mkdirSync(one, { recursive: true, mode: 0o755 });
  if (spec.unprivileged) return;
  const outside = (ranges: ContainerSpec['uids']) => ranges?.find(({ inside }) => inside === 0)?.outside ?? 0;
  chownSync(upper, outside(spec.uids), outside(spec.gids));
}

/** mounts.cc: the last slot of `take`. */
const HOST_TREE = 127;

/** The monitor's steps that leave the file system mounted at `root`. */
export function mountOfRoot(spec: ContainerSpec, folder: string, store: string): RootFileSystem {
  const { root, upper, work } = foldersOf(spec, folder, store);
  // A user namespace may not stack layers on a tree in which mounts of others are locked: it sees the host's as it is.
  if (spec.unprivileged && spec.root.kind === 'host') {
    return {
      root,
      rootSteps: [
        ['take', HOST_TREE, '/', ''],
        ['place', HOST_TREE, root],
        ['mount', 'tmpfs', `${root}/tmp`, 'tmpfs', 'nosuid,nodev', 'mode=1777'],
      ],
    };
  }
  const lower = lowerFolders(spec.root, store).map(escaped).join(':');
  const options = `lowerdir=${lower},upperdir=${escaped(upper)},workdir=${escaped(work)}`;
  return {
    root,
    rootSteps: [
      ['mount', 'overlay', root, 'overlay', 'nodev', spec.unprivileged ? `userxattr,${options}` : options],
    ],
  };
}

/** Ids of all containers that wrote something, those too that a reboot has ended. */
export function writtenIds(store: string): string[] {
  const folder = join(store, 'containers');
  return existsSync(folder) ? readdirSync(folder) : [];
}

/** Removes what a container wrote. */
export function removeWritten(store: string, id: string): void {
  rmSync(writtenFolder(store, id), { recursive: true, force: true });
}

/** overlayfs reads colons and commas as its own (fs/overlayfs/params.c). */
const escaped = (path: string) => path.replaceAll(/[\\:,]/g, String.raw`\$&`);

function assertFolder(path: string): void {
  const found = statSync(path, { throwIfNoEntry: false });
  if (found?.isDirectory()) return;
  throw new CniError(
    ErrorCode.invalidConfig,
    `a root file system is a folder, and ${path} is ${found ? 'none' : 'not there'}: give a folder to --rootfs`,
  );
}
