/** Images of OCI layouts: read, checked, unpacked; and those that mean harm. */
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import t, { type Test } from 'tap';
import { type Header, pack } from 'tar-stream';
import { realAmbient } from '../../../runtime/ambient.ts';
import { EscapeError, insideRoot, partsOf } from '../../../runtime/image/inside-root.ts';
import { unpackLayers } from '../../../runtime/image/layer.ts';
import { readImage } from '../../../runtime/image/layout.ts';
import { accountOf } from '../../../runtime/image/users.ts';
import { layerFolder } from '../../../runtime/rootfs/rootfs.ts';
import { exec } from '../../support/host.ts';

type Entry = Partial<Header> & { name: string; text?: string };
const MONITOR = join(import.meta.dirname, '../../../dist/bin/weft-monitor');
const LAYER = 'application/vnd.oci.image.layer.v1.tar';

async function tar(entries: readonly Entry[]): Promise<Buffer> {
  const packed = pack();
  for (const { text, ...header } of entries) packed.entry({ type: 'file', ...header } as Header, text ?? '');
  packed.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of packed) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

const digestOf = (bytes: Uint8Array) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

interface Ground {
  layout: string;
  store: string;
  /** Unpacks it, and returns the folders of its layers. */
  unpack(tag?: string): Promise<string[]>;
}

/** A layout with one image, tagged `one`. `spoil` changes a blob after it was described. */
async function ground(
  t: Test,
  layers: readonly (readonly Entry[])[],
  options: {
    config?: object;
    mediaType?: string;
    spoil?: (blob: Buffer) => Buffer;
    architecture?: string;
  } = {},
): Promise<Ground> {
  const folder = mkdtempSync(join(tmpdir(), 'weft-image-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const [layout, store] = [join(folder, 'layout'), join(folder, 'store')];
  mkdirSync(join(layout, 'blobs/sha256'), { recursive: true });
  const put = (mediaType: string, bytes: Buffer, stored = bytes) => {
    const digest = digestOf(bytes);
    writeFileSync(join(layout, 'blobs', digest.replace(':', '/')), stored);
    return { mediaType, digest, size: bytes.length };
  };
  const json = (mediaType: string, value: object) => put(mediaType, Buffer.from(JSON.stringify(value)));
  const plain = await Promise.all(layers.map(tar));
  const described = plain.map((bytes) => {
    const blob = gzipSync(bytes);
    return put(options.mediaType ?? `${LAYER}+gzip`, blob, options.spoil?.(blob));
  });
  const config = json('application/vnd.oci.image.config.v1+json', {
    config: options.config ?? {},
    rootfs: { type: 'layers', diff_ids: plain.map(digestOf) },
  });
  const manifest = json('application/vnd.oci.image.manifest.v1+json', {
    schemaVersion: 2,
    config,
    layers: described,
  });
  const { x64 = 'amd64', ...others } = { x64: 'amd64', arm64: 'arm64' };
  const architecture = options.architecture ?? ({ x64, ...others } as Record<string, string>)[process.arch];
  const index = json('application/vnd.oci.image.index.v1+json', {
    manifests: [{ ...manifest, platform: { os: 'linux', architecture } }],
  });
  const annotations = { 'org.opencontainers.image.ref.name': 'one' };
  writeFileSync(join(layout, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  writeFileSync(join(layout, 'index.json'), JSON.stringify({ manifests: [{ ...index, annotations }] }));
  const ambient = realAmbient(process.env);
  return {
    layout,
    store,
    async unpack(tag) {
      const image = readImage(layout, tag);
      await unpackLayers(ambient, store, layout, image.layers, MONITOR);
      return image.layers.map(({ diffId }) => layerFolder(store, diffId));
    },
  };
}

t.test('layers as overlayfs wants them', async (t) => {
  const { unpack, store } = await ground(t, [
    [
      { name: 'etc/', type: 'directory', mode: 0o750, uid: 3, gid: 4, mtime: new Date(1000) },
      { name: 'etc/passwd', text: 'root:x:0:0::/root:/bin/sh\nweb:x:1000:100::/srv:/bin/sh\n' },
      { name: 'etc/group', text: 'root:x:0:\nusers:x:100:\nmore:x:7:web,other\n' },
      { name: 'bin/tool', mode: 0o4755, text: 'x'.repeat(100_000) },
      { name: 'bin/same', type: 'link', linkname: 'bin/tool' },
      { name: 'lib', type: 'symlink', linkname: '/usr/lib' },
      { name: 'usr/lib/', type: 'directory' },
      { name: 'lib/through', text: 'by a link of the image' },
      { name: 'dev/sda', type: 'block-device', devmajor: 8, devminor: 0 },
      { name: 'gone', text: 'soon' },
    ],
    [
      { name: '.wh.gone' },
      { name: 'etc/.wh..wh..opq' },
      { name: 'etc/new', text: 'new' },
      { name: 'cap', pax: { 'SCHILY.xattr.user.weft': 'v' } },
    ],
  ]);
  const [first = '', second = ''] = await unpack('one');
  t.match(statSync(join(first, 'etc')), { mode: 0o40750, uid: 3, gid: 4, mtimeMs: 1000 });
  t.match(statSync(join(first, 'bin/tool')), { mode: 0o104755, size: 100_000, nlink: 2 });
  t.equal(readlinkSync(join(first, 'lib')), '/usr/lib');
  t.equal(
    readFileSync(join(first, 'usr/lib/through'), 'utf8'),
    'by a link of the image',
    'inside the layer, not on this host',
  );
  t.notOk(existsSync(join(first, 'dev/sda')), 'no device');
  const whiteout = statSync(join(second, 'gone'));
  t.ok(whiteout.isCharacterDevice() && whiteout.rdev === 0, 'a whiteout');
  const read = 'import os, sys; print(os.getxattr(sys.argv[1], sys.argv[2]).decode())';
  const attribute = async (path: string, name: string) =>
    (await exec('python3', ['-c', read, join(second, path), name])).stdout;
  t.equal(await attribute('etc', 'trusted.overlay.opaque'), 'y', 'an opaque folder');
  t.equal(await attribute('cap', 'user.weft'), 'v', 'an attribute');
  t.same(accountOf('web', [second, first]), { uid: 1000, gid: 100, groups: [7], home: '/srv' });
  t.same(accountOf('5:users', [first]), { uid: 5, gid: 100, groups: [], home: '/' });
  t.throws(() => accountOf('nobody', [first]), { message: /there is no user "nobody"/ });
  const before = statSync(first).ino;
  await unpack();
  t.equal(statSync(first).ino, before, 'a layer is unpacked once');
  t.same(
    readdirSync(join(store, 'layers')).filter((name) => /new|lock/.test(name)),
    [],
  );
});

t.test('harm', async (t) => {
  const refuses = async (name: string, entries: readonly Entry[], message: RegExp, options = {}) => {
    const { unpack, store } = await ground(t, [entries], options);
    await t.rejects(unpack('one'), { message }, name);
    t.same(
      existsSync(join(store, 'layers')) ? readdirSync(join(store, 'layers')) : [],
      [],
      `${name}: nothing is left`,
    );
  };
  await refuses(
    'a path that climbs',
    [{ name: '../../etc/cron.d/x', text: 'x' }],
    /"..\/..\/etc\/cron.d\/x" points out of the layer/,
  );
  await refuses(
    'a hard link that climbs',
    [{ name: 'x', type: 'link', linkname: '../../../etc/shadow' }],
    /points out of the layer/,
  );
  await refuses(
    'links in a circle',
    [
      { name: 'a', type: 'symlink', linkname: 'a' },
      { name: 'a/b/c', text: '' },
    ],
    /circle/,
  );
  const flip = (blob: Buffer) =>
    Buffer.from(blob.map((byte, at) => (at === blob.length - 5 ? byte ^ 1 : byte)));
  await refuses('a damaged blob', [{ name: 'x', text: 'x' }], /cannot be unpacked|is damaged/, {
    spoil: flip,
  });
  await refuses('another blob', [{ name: 'x', text: 'x' }], /its digest is sha256:/, {
    spoil: () => gzipSync(Buffer.alloc(1024)),
  });
  await refuses('half a blob', [{ name: 'x', text: 'x'.repeat(5000) }], /cannot be unpacked/, {
    spoil: (blob: Buffer) => blob.subarray(0, 60),
  });
  await refuses('no archive', [{ name: 'x' }], /cannot be unpacked|is damaged/, {
    spoil: () => Buffer.from('nothing'),
  });
  if (process.versions.node.startsWith('20.')) {
    await refuses('zstd', [{ name: 'x' }], /compressed by zstd, which this Node cannot read/, {
      mediaType: `${LAYER}+zstd`,
    });
  }
  const outside = await ground(t, [
    [
      { name: 'up', type: 'symlink', linkname: '/../../../..' },
      { name: 'up/etc/x', text: 'x' },
    ],
  ]);
  const [folder = ''] = await outside.unpack('one');
  t.equal(
    readFileSync(join(folder, 'etc/x'), 'utf8'),
    'x',
    'a link that climbs ends at the root of the layer',
  );
});

t.test('layouts that are none', async (t) => {
  const { layout } = await ground(t, [[{ name: 'x' }]]);
  t.throws(() => readImage('/no/such', undefined), { message: /is no OCI image layout: .*skopeo copy/ });
  t.throws(() => readImage(layout, 'two'), { message: /no image "two" in .*: there are one/ });
  t.throws(() => readImage(layout, 'one', 'mips'), {
    message: /is not for linux\/mips: it is for linux\/\w+/,
  });
  const { digest } = JSON.parse(readFileSync(join(layout, 'index.json'), 'utf8')).manifests[0];
  writeFileSync(join(layout, 'blobs', digest.replace(':', '/')), '{}');
  t.throws(() => readImage(layout, 'one'), { message: /is damaged: its digest is sha256:44136fa/ });
  writeFileSync(
    join(layout, 'index.json'),
    JSON.stringify({ manifests: [{ mediaType: 'x', digest: 'sha256:../../etc/passwd', size: 1 }] }),
  );
  t.throws(() => readImage(layout, undefined), { message: /is no digest/ });
  writeFileSync(join(layout, 'index.json'), 'no json');
  t.throws(() => readImage(layout, undefined), { message: /index.json is no JSON/ });
});

t.test('paths below a root', async (t) => {
  t.same(partsOf('./a//b/'), ['a', 'b']);
  t.throws(() => partsOf('a/../b'), EscapeError);
  t.equal(insideRoot('/no/such/root', ['a', 'b']), '/no/such/root/a/b');
});
