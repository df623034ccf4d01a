/**
 * What an ADD made on the host, kept until DEL: one small file per attachment, from which the agent puts back what others removed
 * (agent/repair) and knows what was left behind. Nothing else depends on it: a host without these files works all the same.
 */
import fs from 'node:fs';
import { join } from 'node:path';
import type { Ambient, Files } from '../cni/ambient.ts';
import { makeFolder } from '../cni/folder.ts';
import type { AttachmentRequest, GcRequest } from '../cni/plugin.ts';
import type { Attachment, AttachmentId } from '../cni/types.ts';
import { hostLinkName, hostLinkPrefix } from '../plan/names.ts';
import type { Plan, Step } from '../plan/step.ts';
import type { Session } from './session.ts';

const FORMAT = 'weft attachment 1';
/** A file that was a record and becomes the next one: records come and go with containers, and new files are what costs. */
const SPARE = '.spare';

export interface AttachmentRecord extends Attachment {
  format: typeof FORMAT;
  plugin: string;
  /** `dev:inode` of the container's network namespace and of the host's. */
  sandbox: string;
  host: string;
  /** The kernel's boot id: after another boot nothing of the attachment lives. */
  boot: string;
  /** With these and the configuration (standard input) its DEL can be called. */
  env: Record<string, string>;
  input: string;
  /** The part of its plan that is on the host. */
  steps: Step[];
}

const KEPT_VARIABLES = [
  'CNI_ARGS',
  'CNI_PATH',
  'PATH',
  'WEFT_DATA_DIR',
  'WEFT_RUN_DIR',
  'WEFT_CACHE_DIR',
  'WEFT_CONF_DIR',
] as const;

/** Not below the run folder: after a reboot these files prove that the leases of that time belong to nobody. */
export const recordFolder = (cacheDir: string) => join(cacheDir, 'weft', 'attachments');

const recordName = (plugin: string, network: string, id: AttachmentId) =>
  `${hostLinkName(network, id)}.${plugin}`;

/** Of the kernel that runs; read once, as it outlives this process. Throws an Error with `code`. */
export const bootId: () => string = once(() =>
  fs.readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim(),
);

function once<T>(read: () => T): () => T {
  let known: { value: T } | undefined;
  return () => {
    known ??= { value: read() };
    return known.value;
  };
}

async function stepsToKeep(plan: Plan, session: Session): Promise<Step[]> {
  const kept: Step[] = [];
  for (const step of plan) {
    if (step.kind === 'masquerade') {
      // What fits this host is another backend when its rules are gone.
      kept.push({ ...step, backend: (await session.firewall(step.backend)).name });
    } else if (step.kind === 'publish') {
      kept.push({ ...step, backend: (await session.ports(step.backend)).name });
    } else if (step.kind !== 'announce' && !('in' in step && step.in === 'container')) {
      kept.push(step);
    }
  }
  return kept;
}

/** After ADD has made everything. That it cannot be kept is no reason to fail: then there is no repair. */
export async function keepRecord<C>(
  plugin: string,
  { attachment, ambient, input }: AttachmentRequest<C>,
  plan: Plan,
  session: Session,
): Promise<void> {
  try {
    const { network } = attachment;
    const variables = KEPT_VARIABLES.flatMap((key) => {
      const value = ambient.env[key];
      return value === undefined ? [] : [[key, value] as const];
    });
    const record: AttachmentRecord = {
      format: FORMAT,
      plugin,
      ...attachment,
      sandbox: session.container?.identity ?? '',
      host: session.host.identity,
      boot: bootId(),
      env: Object.fromEntries(variables),
      input,
      steps: await stepsToKeep(plan, session),
    };
    const folder = recordFolder(ambient.paths.cacheDir);
    write(folder, recordName(plugin, network, attachment), JSON.stringify(record), ambient.files);
  } catch (error) {
    ambient.log(`what ADD made could not be written down, the agent will not repair it: ${error}`);
  }
}

/** No fsync: what a power loss takes away is only looked at to make repairs. */
function write(folder: string, name: string, text: string, files: Files): void {
  const put = () => files.replace(join(folder, name), join(folder, `.${name}`), join(folder, SPARE), text);
  try {
    put();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    makeFolder(folder, 0o700);
    put();
  }
}

const recordFile = <C>(plugin: string, { attachment, ambient }: AttachmentRequest<C>): string =>
  join(recordFolder(ambient.paths.cacheDir), recordName(plugin, attachment.network, attachment));

/** The steps that an ADD kept; none where there is no record. */
export function recordedSteps<C>(plugin: string, request: AttachmentRequest<C>): readonly Step[] {
  return readRecord(recordFile(plugin, request))?.steps ?? [];
}

/** Before DEL takes anything away, so that nobody puts it back. Never throws. */
export function dropRecord<C>(plugin: string, request: AttachmentRequest<C>): void {
  const { network } = request.attachment;
  remove(recordName(plugin, network, request.attachment), request.ambient);
}

/** Before GC takes anything away. Returns the records of what is not valid any more. Never throws. */
export function dropStaleRecords<C extends { name: string }>(
  plugin: string,
  { config, valid, ambient }: GcRequest<C>,
): AttachmentRecord[] {
  const folder = recordFolder(ambient.paths.cacheDir);
  const spared = new Set(valid.map((id) => recordName(plugin, config.name, id)));
  const start = hostLinkPrefix(config.name);
  return recordNames(folder).flatMap((name) => {
    if (!name.startsWith(start) || !name.endsWith(`.${plugin}`) || spared.has(name)) return [];
    const file = join(folder, name);
    const record = readRecord(file);
    if (record?.network !== config.name) return [];
    remove(name, ambient);
    return [record];
  });
}

function remove(name: string, { paths, files, log }: Ambient): void {
  const folder = recordFolder(paths.cacheDir);
  const file = join(folder, name);
  try {
    files.retire(file, join(folder, SPARE));
  } catch (error) {
    log(`${file} could not be removed: ${error}`);
  }
}

/** Names of the records; none when the folder cannot be read. */
export function recordNames(folder: string): string[] {
  try {
    return fs.readdirSync(folder).filter((name) => !name.startsWith('.'));
  } catch {
    return [];
  }
}

/** Undefined when it is gone, or no record of this format (a power loss, a newer weft). */
export function readRecord(file: string): AttachmentRecord | undefined {
  try {
    const value = JSON.parse(fs.readFileSync(file, 'utf8')) as Partial<AttachmentRecord> | null;
    return value?.format === FORMAT ? (value as AttachmentRecord) : undefined;
  } catch {
    return undefined;
  }
}
