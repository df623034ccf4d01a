/** Unpacks layers of images into folders that overlayfs stacks (image-spec 1.1, layer.md). */
import { createHash } from 'node:crypto';
import {
  chmodSync,
  createReadStream,
  createWriteStream,
  existsSync,
  lchownSync,
  linkSync,
  lutimesSync,
  mkdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import type { Header } from 'tar-stream';
import type { Ambient } from '../../cni/ambient.ts';
import { CniError, ErrorCode } from '../../cni/errors.ts';
import { encodeSteps, renderStep, type Step } from '../container/steps.ts';
import { layerFolder } from '../rootfs/rootfs.ts';
import { insideRoot, partsOf } from './inside-root.ts';
import { assertDigest, blobPath, type Descriptor, wrongDigest } from './layout.ts';

type Layer = Descriptor & { diffId: string };

/** layer.md, "Whiteouts". */
const WHITEOUT = '.wh.';
const OPAQUE = '.wh..wh..opq';
/** How tar carries extended attributes (pax). */
const ATTRIBUTE = 'SCHILY.xattr.';

/**
 * Unpacks what is not in the store yet. A layer is made beside its place, checked, and moved there as a whole. `monitor` makes what Node cannot:
 * whiteouts and extended attributes. Throws CniError(invalidConfig) for a blob that is missing, damaged, or points out of its layer; nothing is
 * left then.
 */
export async function unpackLayers(
  ambient: Ambient,
  store: string,
  layout: string,
  layers: readonly Layer[],
  monitor: string,
): Promise<void> {
  for (const layer of layers) {
    assertDigest(layout, layer.digest);
    assertDigest(layout, layer.diffId);
    const place = dirname(layerFolder(store, layer.diffId));
    if (existsSync(place)) continue;
    mkdirSync(dirname(place), { recursive: true, mode: 0o700 });
    const release = await ambient.lock(`${place}.lock`);
    try {
      if (existsSync(place)) continue;
      await unpackInto(`${place}.new`, layout, layer, monitor, ambient);
      renameSync(`${place}.new`, place);
    } catch (error) {
      rmSync(`${place}.new`, { recursive: true, force: true });
      throw error;
    } finally {
      rmSync(`${place}.lock`, { force: true });
      release();
    }
  }
}

async function unpackInto(
  folder: string,
  layout: string,
  layer: Layer,
  monitor: string,
  ambient: Ambient,
): Promise<void> {
  const { extract } = await import('tar-stream');
  const { pipeline } = await import('node:stream/promises');
  const { Transform } = await import('node:stream');
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { mode: 0o700 });
  const root = join(folder, 'files');
  mkdirSync(root, { mode: 0o755 });
  const blob = blobPath(layout, layer.digest);
  const hashing = (hash: ReturnType<typeof createHash>) =>
    new Transform({
      transform(chunk: Buffer, _, done) {
        hash.update(chunk);
        done(null, chunk);
      },
    });
  const [compressed, plain] = [createHash('sha256'), createHash('sha256')];
  const entries = extract();
  const later: Step[] = [];
  /** The entry that is being written: it does not hear of the archive's end by itself. */
  const open: { entry?: Entry } = {};
  const unpacking = unpackEntries(entries, root, later, open);
  // What keeps one of the two from its end is told by the other.
  unpacking.catch(() => entries.destroy());
  try {
    if (!existsSync(blob)) throw damaged(layout, layer, 'its blob is missing');
    const decompress = await decompression(layer.mediaType);
    await pipeline([
      createReadStream(blob),
      hashing(compressed),
      ...decompress,
      hashing(plain),
      entries,
    ] as never);
    await unpacking;
  } catch (error) {
    open.entry?.destroy(error as Error);
    entries.destroy(error as Error);
    await unpacking.catch((cause: unknown) => {
      throw asInvalid(cause, layout, layer);
    });
    throw asInvalid(error, layout, layer);
  }
  const [digest, diffId] = [`sha256:${compressed.digest('hex')}`, `sha256:${plain.digest('hex')}`];
  if (digest !== layer.digest) throw wrongDigest(blob, layer.digest, digest);
  if (diffId !== layer.diffId) throw wrongDigest(`${blob}, uncompressed,`, layer.diffId, diffId);
  if (later.length > 0) await makeByMonitor(folder, later, monitor, ambient);
}

const damaged = (layout: string, { digest }: Layer, why: string, cause?: unknown) =>
  new CniError(
    ErrorCode.invalidConfig,
    `layer ${digest} of ${layout} cannot be unpacked: ${why}`,
    undefined,
    { cause },
  );

function asInvalid(error: unknown, layout: string, layer: Layer): unknown {
  if (error instanceof CniError) return error;
  return damaged(layout, layer, (error as Error).message, error);
}

async function decompression(mediaType: string): Promise<unknown[]> {
  const zlib = await import('node:zlib');
  if (/\+gzip$|\.gzip$/.test(mediaType)) return [zlib.createGunzip()];
  if (!/\+zstd$/.test(mediaType)) return [];
  // Node 22.15 has it.
  const { createZstdDecompress } = zlib as { createZstdDecompress?: () => unknown };
  if (createZstdDecompress) return [createZstdDecompress()];
  throw new Error(
    'it is compressed by zstd, which this Node cannot read: copy the image with gzip ("skopeo copy --dest-compress-format gzip ...")',
  );
}

interface Entry extends Readable {
  header: Header;
}

async function unpackEntries(
  entries: AsyncIterable<unknown>,
  root: string,
  later: Step[],
  open: { entry?: Entry },
): Promise<void> {
  /** Times of folders change when files come into them: set at the end. */
  const folders: [string, Date][] = [];
  for await (const entry of entries as AsyncIterable<Entry>) {
    open.entry = entry;
    await unpackEntry(entry, root, later, folders);
    entry.resume();
  }
  for (const [path, time] of folders.reverse()) utimesSync(path, time, time);
}

async function unpackEntry(
  entry: Entry,
  root: string,
  later: Step[],
  folders: [string, Date][],
): Promise<void> {
  const { header } = entry;
  const parts = partsOf(header.name);
  const path = insideRoot(root, parts);
  mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
  const name = basename(path);
  if (name === OPAQUE) {
    later.push(['attribute', dirname(path), 'trusted.overlay.opaque', 'y']);
    return;
  }
  if (name.startsWith(WHITEOUT)) {
    later.push(['device', join(dirname(path), name.slice(WHITEOUT.length)), 'c', 0, 0]);
    return;
  }
  if (!(await makeEntry(entry, path, root))) return;
  const { type, mode = 0o644, uid = 0, gid = 0, mtime = new Date(0) } = header;
  if (type !== 'link') {
    lchownSync(path, uid, gid);
    if (type !== 'symlink') chmodSync(path, mode & 0o7777);
    if (type === 'directory') folders.push([path, mtime]);
    else lutimesSync(path, mtime, mtime);
  }
  for (const [key, value] of Object.entries((header.pax ?? {}) as Record<string, string>)) {
    if (key.startsWith(ATTRIBUTE))
      later.push(['attribute', path, key.slice(ATTRIBUTE.length), Buffer.from(value, 'latin1')]);
  }
}

/** Whether there is something now whose owner and mode count. Devices are left out: a container's root has none. */
async function makeEntry(entry: Entry, path: string, root: string): Promise<boolean> {
  const { type, linkname } = entry.header;
  const found = path === root || type === 'directory' ? statSync(path, { throwIfNoEntry: false }) : undefined;
  if (type === 'directory') {
    if (!found?.isDirectory()) mkdirSync(path, { mode: 0o755 });
    return true;
  }
  rmSync(path, { recursive: true, force: true });
  if (type === 'symlink') symlinkSync(linkname ?? '', path);
  else if (type === 'link') linkSync(insideRoot(root, partsOf(linkname ?? '')), path);
  else if (type === 'file' || type === 'contiguous-file' || type === null) {
    const { pipeline } = await import('node:stream/promises');
    await pipeline(entry, createWriteStream(path, { mode: 0o600, flags: 'wx' }));
  } else return false;
  return true;
}

/** Whiteouts are devices, and attributes have no call in Node: weft-monitor makes both, as steps. */
async function makeByMonitor(
  folder: string,
  steps: readonly Step[],
  monitor: string,
  ambient: Ambient,
): Promise<void> {
  writeFileSync(join(folder, 'steps'), encodeSteps([...steps, ['done']]));
  const { spawn } = await import('node:child_process');
  const child = spawn(monitor, [folder], { stdio: ['ignore', 'ignore', 'ignore', 'pipe'], env: ambient.env });
  const said: Buffer[] = [];
  child.stdio[3]?.on('data', (data: Buffer) => said.push(data));
  const status = await new Promise<number | null>((resolve, reject) => {
    child.on('close', resolve).on('error', reject);
  });
  if (status !== 0) {
    const [index = 0, errno = 0] = Buffer.concat(said).subarray(5).toString('latin1').split(' ').map(Number);
    throw new CniError(
      ErrorCode.io,
      `cannot make "${renderStep(steps[index] ?? ['?'])}" of a layer: errno ${errno}`,
    );
  }
  rmSync(join(folder, 'steps'));
}
