/** Reads an OCI image layout (image-spec 1.1: image-layout.md, image-index.md, manifest.md, config.md). Every blob is checked by its digest. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CniError, ErrorCode } from '../../cni/errors.ts';

export interface Descriptor {
  mediaType: string;
  digest: string;
  size: number;
  annotations?: Readonly<Record<string, string>>;
  platform?: { os: string; architecture: string; variant?: string };
}

export interface ImageConfig {
  env: readonly string[];
  entrypoint: readonly string[];
  cmd: readonly string[];
  user: string;
  workdir: string;
}

export interface Image {
  /** Folder of the layout. */
  layout: string;
  /** As it was asked for. */
  reference: string;
  /** Digest of the manifest. */
  manifest: string;
  config: ImageConfig;
  /** The lowest first; `diffId` is the digest of the layer without compression. */
  layers: readonly (Descriptor & { diffId: string })[];
}

const INDEX = 'application/vnd.oci.image.index.v1+json';
const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
/** Docker's names for the same. */
const LISTS: readonly string[] = [INDEX, 'application/vnd.docker.distribution.manifest.list.v2+json'];
const MANIFESTS: readonly string[] = [MANIFEST, 'application/vnd.docker.distribution.manifest.v2+json'];
const REF_NAME = 'org.opencontainers.image.ref.name';
/** Go's names of architectures, which images use, where they differ from Node's. */
const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', ia32: '386' };
const DIGEST = /^sha256:[0-9a-f]{64}$/;
/** Bytes: no manifest or configuration is longer, and they are read as a whole. */
const MOST_JSON = 4 * 1024 * 1024;

const invalid = (message: string, cause?: unknown) =>
  new CniError(ErrorCode.invalidConfig, message, undefined, { cause });

export function blobPath(layout: string, digest: string): string {
  return join(layout, 'blobs', ...digest.split(':'));
}

/** Throws CniError(invalidConfig): no layout, no such tag, a blob that is missing or is not what its digest says. */
export function readImage(layout: string, tag: string | undefined, arch: string = process.arch): Image {
  const found = choose(readIndex(layout), layout, tag);
  const manifest = resolve(layout, found, ARCHITECTURES[arch] ?? arch);
  const { config, layers = [] } = manifest.json as { config?: Descriptor; layers?: Descriptor[] };
  if (config === undefined)
    throw invalid(`manifest ${manifest.digest} of ${layout} has no "config": it is no image`);
  const { config: defaults = {}, rootfs } = readJson(layout, config) as {
    config?: { Env?: string[]; Entrypoint?: string[]; Cmd?: string[]; User?: string; WorkingDir?: string };
    rootfs?: { diff_ids?: string[] };
  };
  const diffIds = rootfs?.diff_ids ?? [];
  if (diffIds.length !== layers.length) {
    throw invalid(
      `the image in ${layout} has ${layers.length} layers, and its configuration tells of ${diffIds.length}: it is damaged`,
    );
  }
  return {
    layout,
    reference: tag === undefined ? layout : `${layout}:${tag}`,
    manifest: manifest.digest,
    config: {
      env: defaults.Env ?? [],
      entrypoint: defaults.Entrypoint ?? [],
      cmd: defaults.Cmd ?? [],
      user: defaults.User ?? '',
      workdir: defaults.WorkingDir || '/',
    },
    layers: layers.map((layer, index) => ({ ...layer, diffId: diffIds[index] ?? '' })),
  };
}

function readIndex(layout: string): Descriptor[] {
  let text: string;
  try {
    readFileSync(join(layout, 'oci-layout'));
    text = readFileSync(join(layout, 'index.json'), 'utf8');
  } catch (cause) {
    throw invalid(
      `${layout} is no OCI image layout: it wants the files oci-layout and index.json; "skopeo copy docker-archive:FILE oci:${layout}:TAG" makes one`,
      cause,
    );
  }
  const { manifests } = parse(text, `${layout}/index.json`) as { manifests?: Descriptor[] };
  if (!Array.isArray(manifests)) throw invalid(`${layout}/index.json has no list of "manifests"`);
  return manifests;
}

function choose(all: readonly Descriptor[], layout: string, tag: string | undefined): Descriptor {
  const tags = all.flatMap(({ annotations }) => annotations?.[REF_NAME] ?? []);
  const there = tags.length === 0 ? 'none has a tag' : `there are ${tags.join(', ')}`;
  if (tag === undefined) {
    const [only, ...others] = all;
    if (only && others.length === 0) return only;
    throw invalid(`${layout} has ${all.length} images: say which by ${layout}:TAG; ${there}`);
  }
  const found = all.find(({ annotations }) => annotations?.[REF_NAME] === tag);
  if (found) return found;
  throw invalid(`there is no image ${JSON.stringify(tag)} in ${layout}: ${there}`);
}

/** An index may lead to others, one for each platform. */
function resolve(
  layout: string,
  descriptor: Descriptor,
  architecture: string,
  depth = 0,
): { digest: string; json: unknown } {
  const { mediaType, digest } = descriptor;
  const json = readJson(layout, descriptor);
  if (MANIFESTS.includes(mediaType)) return { digest, json };
  if (!LISTS.includes(mediaType) || depth > 3)
    throw invalid(`${digest} in ${layout} is ${JSON.stringify(mediaType)}: no image that is known here`);
  const { manifests = [] } = json as { manifests?: Descriptor[] };
  const fits = manifests.find(
    ({ platform }) => platform?.os === 'linux' && platform.architecture === architecture,
  );
  if (fits) return resolve(layout, fits, architecture, depth + 1);
  const there = manifests.map(({ platform }) => `${platform?.os}/${platform?.architecture}`).join(', ');
  throw invalid(`the image in ${layout} is not for linux/${architecture}: it is for ${there || 'nothing'}`);
}

function readJson(layout: string, { digest, size }: Descriptor): unknown {
  assertDigest(layout, digest);
  if (size > MOST_JSON)
    throw invalid(
      `blob ${digest} of ${layout} is said to have ${size} bytes: no description of an image is that long`,
    );
  const path = blobPath(layout, digest);
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch (cause) {
    throw invalid(`blob ${digest} of ${layout} is missing: the layout is not complete`, cause);
  }
  const actual = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
  if (actual !== digest) throw wrongDigest(path, digest, actual);
  return parse(bytes.toString('utf8'), path);
}

/** Throws CniError(invalidConfig): a digest becomes a path. */
export function assertDigest(layout: string, digest: string): void {
  if (typeof digest === 'string' && DIGEST.test(digest)) return;
  throw invalid(
    `${JSON.stringify(digest)} in ${layout} is no digest: wanted sha256: and 64 hexadecimal digits`,
  );
}

export function wrongDigest(path: string, wanted: string, found: string): CniError {
  return invalid(`${path} is damaged: its digest is ${found}, wanted ${wanted}; copy the image again`);
}

function parse(text: string, where: string): unknown {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null) return value;
  } catch (cause) {
    throw invalid(`${where} is no JSON: ${(cause as Error).message}`, cause);
  }
  throw invalid(`${where} is no JSON object`);
}
