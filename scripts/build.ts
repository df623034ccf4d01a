/**
 * Builds dist/bin from the sources and the compiled native parts: the bundle, one native launcher under every
 * executable's name, the addon, and V8's code cache. Everything is a plain file in one folder, so that
 * `cp dist/bin/* elsewhere` or symlinks into it work.
 *
 * Usage: tsx scripts/build.ts [--out dist/bin]
 */
import { execFileSync } from 'node:child_process';
import {
  copyFileSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { type BuildOptions, build, type Plugin } from 'esbuild';
import { writeMembership } from '../ipam/cluster/membership.ts';
import { PLUGIN_NAMES } from '../plugins/registry.ts';
import { DEFAULT_CAPABILITIES } from '../runtime/container/capabilities.ts';
import { type Profile, rulesOf } from './seccomp/profile.ts';

const { values } = parseArgs({ options: { out: { type: 'string', default: 'dist/bin' } } });
const root = path.resolve(import.meta.dirname, '..');
const target = path.resolve(root, values.out);
/** Everything is made beside the target and put in its place at the end, so that nobody calls a half-built plugin. */
const out = `${target}.new`;

/** What the plugins' cold path must not read: each is a bundle of its own, loaded when it is first used. */
const SEPARATE = [
  { from: /\/cli\/app\.ts$/, entry: 'cli/app.ts', file: 'weft-cli.js' },
  { from: /\/agent\/(alone|command)\.ts$/, entry: 'cli/agent/alone.ts', file: 'weft-agent.js' },
  { from: /^execa$/, entry: 'execa', file: 'weft-execa.cjs' },
] as const;

/** Points lazy imports of the separate bundles at their files, which lie beside the one that imports. */
const separately: Plugin = {
  name: 'separate bundles',
  setup: (builder) => {
    for (const { from, file } of SEPARATE) {
      builder.onResolve({ filter: from }, ({ kind }) =>
        kind === 'dynamic-import' ? { path: `./${file}`, external: true } : undefined,
      );
    }
  },
};

const common = {
  bundle: true,
  platform: 'node',
  target: 'node20',
  format: 'cjs',
  minifySyntax: true,
  minifyWhitespace: true,
  charset: 'ascii',
  legalComments: 'none',
  // Lazy imports of Node's own modules become require(): a script has no loader for import().
  supported: { 'dynamic-import': false },
  define: { 'import.meta.url': '__weftUrl', 'import.meta.dirname': '__dirname' },
  plugins: [separately],
  absWorkingDir: root,
  logLevel: 'warning',
} satisfies BuildOptions;

const URL_BANNER = 'const __weftUrl=require("url").pathToFileURL(__filename).href;';

/** A function for bin/load.cjs to call: the module scope of CommonJS. */
const AS_FUNCTION = {
  banner: { js: `(function(require,__filename,__dirname,module,exports){${URL_BANNER}` },
  footer: { js: '})' },
};

async function bundle(): Promise<void> {
  const entries = [
    { entry: 'bin/main.ts', file: 'weft-core.js' },
    { entry: 'bin/oci.ts', file: 'weft-oci.js' },
  ];
  const bundles = [...entries, ...SEPARATE];
  for (const { entry, file } of bundles) {
    const shape = file.endsWith('.cjs') ? { banner: { js: URL_BANNER } } : AS_FUNCTION;
    await build({ ...common, entryPoints: [entry], outfile: path.join(out, file), ...shape });
  }
}

function placeFiles(): void {
  copyFileSync(path.join(root, 'bin/load.cjs'), path.join(out, 'weft-core.cjs'));
  copyFileSync(path.join(root, 'build/Release/weft.node'), path.join(out, 'weft-core.node'));
  const launcher = path.join(out, 'weft');
  copyFileSync(path.join(root, 'build/Release/weft-launcher'), launcher);
  copyFileSync(path.join(root, 'build/Release/weft-monitor'), path.join(out, 'weft-monitor'));
  copyFileSync(path.join(root, 'build/Release/weft-seccomp'), path.join(out, 'weft-seccomp'));
  writeFileSync(path.join(out, 'weft-examples.json'), JSON.stringify(examples()));
  for (const name of [...PLUGIN_NAMES, 'weft-oci']) linkSync(launcher, path.join(out, name));
}

/** The texts of examples/, by name: `weft demo` shows them. */
function examples(): Record<string, string> {
  const folder = path.join(root, 'examples');
  const files = readdirSync(folder).filter((file) => file.endsWith('.conflist'));
  const read = (file: string) => readFileSync(path.join(folder, file), 'utf8');
  return Object.fromEntries(files.map((file) => [path.basename(file, '.conflist'), read(file)]));
}

/** Of containers-common, the profile that Podman and others keep. */
const PROFILE = '/usr/share/containers/seccomp.json';

/** The default filter of system calls for `weft run`. */
function writeFilter(): void {
  const profile = JSON.parse(readFileSync(PROFILE, 'utf8')) as Profile;
  const rules = rulesOf(profile, DEFAULT_CAPABILITIES, process.arch);
  const filter = execFileSync(path.join(root, 'build/Release/weft-seccomp'), { input: rules.join('\n') });
  writeFileSync(path.join(out, 'weft-seccomp.bpf'), filter);
}

/** What the cache is to have: ADD and DEL of these. */
function warmUpConfigurations(): { type: string; [key: string]: unknown }[] {
  const common = { cniVersion: '1.0.0', name: 'warm-up' };
  const ranges = [[{ subnet: '10.1.0.0/24' }], [{ subnet: 'fd00:1::/64' }]];
  const pools = [{ prefix: '10.1.0.0/16' }, { prefix: 'fd00:1::/48' }];
  return [
    { ...common, type: 'vxlan', ipMasq: false, pools },
    { ...common, type: 'routed', ipMasq: false, pools },
    { ...common, type: 'bridge', bridge: 'warm0', isGateway: true, ipam: { type: 'host-local', ranges } },
  ];
}

/** A bundle whose command ends at once. */
function writeWarmUpBundle(folder: string): void {
  mkdirSync(`${folder}/root/proc`, { recursive: true });
  copyFileSync(path.join(out, 'weft-monitor'), `${folder}/root/command`);
  const namespaces = ['pid', 'mount', 'ipc', 'uts', 'network'].map((type) => ({ type }));
  const config = {
    ociVersion: '1.0.2',
    process: { args: ['/command'], cwd: '/', env: ['PATH=/'], capabilities: { bounding: ['CAP_KILL'] } },
    root: { path: 'root' },
    mounts: [{ destination: '/proc', type: 'proc', source: 'proc' }],
    linux: {
      cgroupsPath: `/weft-warm-up-${process.pid}`,
      ...{ namespaces, maskedPaths: ['/proc/keys'], readonlyPaths: ['/proc/sys'] },
      ...{ resources: { devices: [{ allow: false, access: 'rwm' }], pids: { limit: 10 } } },
      seccomp: { defaultAction: 'SCMP_ACT_ALLOW' },
    },
  };
  writeFileSync(`${folder}/config.json`, JSON.stringify(config));
}

/** A network namespace of one's own where that is allowed: the cache then has what ADD and DEL need, too. */
function warmUp(): void {
  const configurations = warmUpConfigurations();
  const state = path.join(out, '.warm-up');
  const env = (command: string) => ({
    PATH: process.env.PATH ?? '/usr/sbin:/usr/bin:/sbin:/bin',
    WEFT_WRITE_CODE_CACHE: 'weft-core',
    WEFT_DATA_DIR: `${state}/data`,
    WEFT_RUN_DIR: `${state}/run`,
    WEFT_CACHE_DIR: `${state}/cache`,
    CNI_COMMAND: command,
    WEFT_AGENT: 'off',
    CNI_CONTAINERID: 'warm-up',
    CNI_IFNAME: 'eth0',
    CNI_PATH: out,
    CNI_NETNS: `${state}/ns`,
    WEFT_WARM_UP: out,
  });
  execFileSync(path.join(out, 'bridge'), { env: env('VERSION'), stdio: ['ignore', 'pipe', 'inherit'] });
  const calls = configurations.map(
    ({ type }) => `
    CNI_COMMAND=ADD "$WEFT_WARM_UP/${type}" <'${state}/${type}.json' >'${state}/result' &&
    CNI_COMMAND=DEL "$WEFT_WARM_UP/${type}" <'${state}/${type}.json' || status=1`,
  );
  const served = `
    WEFT_WRITE_CODE_CACHE=weft-agent "$WEFT_WARM_UP/weft" agent --log-level silent & agent=$!
    until [ -S '${state}/run/agent.sock' ]; do kill -0 $agent && sleep 0.05 || break; done
    env -u WEFT_AGENT CNI_COMMAND=ADD "$WEFT_WARM_UP/bridge" <'${state}/bridge.json' >'${state}/result' &&
    env -u WEFT_AGENT CNI_COMMAND=DEL "$WEFT_WARM_UP/bridge" <'${state}/bridge.json' || status=1
    kill -TERM $agent; wait $agent || status=1`;
  const runtime = `WEFT_WRITE_CODE_CACHE=weft-oci "$WEFT_WARM_UP/weft-oci" --root '${state}/oci'`;
  const container = `
    ${runtime} create --bundle '${state}/bundle' one && ${runtime} start one 2>/dev/null && ${runtime} delete --force one || status=1`;
  const script = `
    touch '${state}/ns' && unshare --net='${state}/ns' true
    status=0${calls.join('')}${served}${container}
    umount '${state}/ns'; exit $status`;
  try {
    mkdirSync(state);
    writeWarmUpBundle(`${state}/bundle`);
    for (const one of configurations) writeFileSync(`${state}/${one.type}.json`, JSON.stringify(one));
    writeMembership(`${state}/cache`, {
      ...{ network: 'warm-up', host: 'warm-up', borrowed: [], mtu: 1450 },
      ...{ subnets: ['10.1.3.0/24', 'fd00:1:0:3::/64'], pools: ['10.1.0.0/16', 'fd00:1::/48'] },
    });
    execFileSync('unshare', ['--net', '--mount', 'sh', '-c', script], { env: env('ADD'), stdio: 'pipe' });
  } catch (error) {
    const words = String((error as { stderr?: Buffer }).stderr ?? error).trim();
    process.stderr.write(
      `code cache without ADD and DEL (needs root; harmless, start-up is slower): ${words}\n`,
    );
  } finally {
    rmSync(state, { recursive: true, force: true });
  }
}

/** Commands whose compiled code the cache of the command line is to have; they touch nothing. */
function warmUpCommands(): void {
  const state = path.join(out, '.warm-up');
  const env = {
    PATH: process.env.PATH ?? '/usr/sbin:/usr/bin:/sbin:/bin',
    WEFT_WRITE_CODE_CACHE: 'weft-cli',
    ...{ WEFT_DATA_DIR: state, WEFT_RUN_DIR: state, WEFT_CACHE_DIR: state, WEFT_CONF_DIR: state },
  };
  const example = path.join(root, 'examples/bridge.conflist');
  const commands = [
    ['version'],
    ['--help'],
    ['net', 'list'],
    ['plan', example],
    ['ps', '--all'],
    ['run', '--dry-run', '--net', 'demo', 'true'],
  ];
  for (const args of commands) execFileSync(path.join(out, 'weft'), args, { env, stdio: 'pipe' });
}

rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
await bundle();
placeFiles();
writeFilter();
warmUp();
warmUpCommands();
rmSync(target, { recursive: true, force: true });
renameSync(out, target);
const size = (file: string) => `${Math.round(statSync(path.join(target, file)).size / 1024)} KiB`;
process.stdout.write(
  `${path.relative(root, target)}: weft and ${PLUGIN_NAMES.join(', ')}; bundle ${size('weft-core.js')}, code cache ${size('weft-core.cache')}\n`,
);
