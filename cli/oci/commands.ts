/** The commands of weft-oci, as runc has them. */
import { readFileSync } from 'node:fs';
import {
  HOOK_KINDS,
  OciError,
  type OciProcess,
  type OciResources,
  readJson,
} from '../../runtime/oci/bundle.ts';
import { exec } from '../../runtime/oci/further.ts';
import { processesOf, updateGroups } from '../../runtime/oci/groups.ts';
import { MOUNT_OPTIONS } from '../../runtime/oci/mounts.ts';
import { create, freeze, type Home, kill, remove, start, startFailed } from '../../runtime/oci/operations.ts';
import { CAPABILITY_NAMES } from '../../runtime/oci/process-steps.ts';
import { SECCOMP_ACTIONS } from '../../runtime/oci/seccomp.ts';
import { listKept, load, publicState } from '../../runtime/oci/state.ts';
import { countOf, isOn, type Known, takeOptions } from './words.ts';

export interface OciContext {
  home: Home;
  out(text: string): void;
}

type Command = (words: readonly string[], context: OciContext) => Promise<number>;

const json = (value: unknown) => `${JSON.stringify(value, null, 2)}\n`;

/** The one word that is wanted. Throws OciError. */
function idOf([id, ...more]: readonly string[], most = 0): string {
  if (id === undefined || id === '') throw new OciError('the id of a container is wanted');
  if (more.length > most) throw new OciError(`one word too many: ${more[most]}`);
  return id;
}

const FILES: Known = { 'pid-file': true, 'console-socket': true, 'preserve-fds': true };

/** Options that both `create` and `exec` know. */
function filesOf(options: ReadonlyMap<string, string>) {
  const pidFile = options.get('pid-file');
  const consoleSocket = options.get('console-socket');
  return {
    ...(pidFile && { pidFile }),
    ...(consoleSocket && { consoleSocket }),
    preserved: countOf(options, 'preserve-fds'),
  };
}

const createCommand: Command = async (words, { home }) => {
  const known = { ...FILES, bundle: true, 'no-pivot': false, 'no-new-keyring': false };
  const { options, rest } = takeOptions(words, known, { b: 'bundle' });
  if (isOn(options, 'no-pivot'))
    throw new OciError('--no-pivot is not supported: a container changes its root by pivot_root');
  await create(home, idOf(rest), { bundle: options.get('bundle') || '.', ...filesOf(options) });
  return 0;
};

const execCommand: Command = async (words, { home }) => {
  const known = { ...FILES, process: true, detach: false, tty: false, cwd: true };
  const { options, rest } = takeOptions(words, known, { p: 'process', d: 'detach', t: 'tty' });
  const [id = '', ...args] = rest;
  const file = options.get('process');
  if (file && args.length > 0) throw new OciError('exec takes either --process or a command');
  const asked: OciProcess = file
    ? readJson<OciProcess>(file, 'the process')
    : {
        args,
        cwd: options.get('cwd') ?? '/',
        env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'],
      };
  const process = options.has('tty') ? { ...asked, terminal: isOn(options, 'tty') } : asked;
  return await exec(home, id, process, { ...filesOf(options), detached: isOn(options, 'detach') });
};

const startCommand: Command = async (words, { home }) => {
  const id = idOf(words, 2);
  // By the launcher, which opened the gate itself: the step that failed, and its errno.
  const [, step, errno] = words;
  if (errno === undefined) await start(home, id);
  else startFailed(home, id, { step: Number(step), errno: Number(errno) });
  return 0;
};

const killCommand: Command = async (words, { home }) => {
  const { options, rest } = takeOptions(words, { all: false }, { a: 'all' });
  kill(home, idOf(rest, 1), rest[1] ?? 'TERM', isOn(options, 'all'));
  return 0;
};

const deleteCommand: Command = async (words, { home }) => {
  const { options, rest } = takeOptions(words, { force: false }, { f: 'force' });
  await remove(home, idOf(rest), isOn(options, 'force'));
  return 0;
};

const psCommand: Command = async (words, { home, out }) => {
  const { options, rest } = takeOptions(words, { format: true }, { f: 'format' });
  const processes = processesOf(load(home.root, idOf(rest)).cgroup);
  out(
    options.get('format') === 'json'
      ? `${JSON.stringify(processes)}\n`
      : processes.map((pid) => `${pid}\n`).join(''),
  );
  return 0;
};

const listCommand: Command = async (words, { home, out }) => {
  const { options } = takeOptions(words, { format: true, quiet: false }, { f: 'format', q: 'quiet' });
  const states = listKept(home.root).map((kept) => publicState(home.root, kept));
  if (isOn(options, 'quiet')) out(states.map(({ id }) => `${id}\n`).join(''));
  else if (options.get('format') === 'json') out(`${JSON.stringify(states)}\n`);
  else out(states.map(({ id, pid, status, bundle }) => `${id}\t${pid}\t${status}\t${bundle}\n`).join(''));
  return 0;
};

const updateCommand: Command = async (words, { home }) => {
  const { options, rest } = takeOptions(words, { resources: true }, { r: 'resources' });
  const file = options.get('resources');
  if (!file) throw new OciError('update wants --resources with a file, or "-" for standard input');
  const { cgroup } = load(home.root, idOf(rest));
  if (file === '-') updateGroups(cgroup, JSON.parse(readFileSync(0, 'utf8')) as OciResources);
  else updateGroups(cgroup, readJson<OciResources>(file, 'the resources'));
  return 0;
};

/** features.md */
const FEATURES = {
  ociVersionMin: '1.0.0',
  ociVersionMax: '1.0.2',
  hooks: HOOK_KINDS,
  mountOptions: MOUNT_OPTIONS,
  linux: {
    namespaces: ['cgroup', 'ipc', 'mount', 'network', 'pid', 'time', 'user', 'uts'],
    capabilities: CAPABILITY_NAMES,
    cgroup: { v1: true, v2: true, systemd: false, systemdUser: false },
    seccomp: { enabled: true, actions: SECCOMP_ACTIONS },
    apparmor: { enabled: true },
    selinux: { enabled: false },
  },
};

/** By name; each throws OciError or CniError. */
export const COMMANDS: Readonly<Record<string, Command>> = {
  create: createCommand,
  start: startCommand,
  state: async (words, { home, out }) => {
    out(json(publicState(home.root, load(home.root, idOf(words)))));
    return 0;
  },
  kill: killCommand,
  delete: deleteCommand,
  exec: execCommand,
  ps: psCommand,
  list: listCommand,
  pause: async (words, { home }) => {
    freeze(home, idOf(words), true);
    return 0;
  },
  resume: async (words, { home }) => {
    freeze(home, idOf(words), false);
    return 0;
  },
  update: updateCommand,
  features: async (_, { out }) => {
    out(json(FEATURES));
    return 0;
  },
};
