import fs from 'node:fs';
import { dirname } from 'node:path';
import { CniError, ErrorCode } from '../../cni/errors.ts';
import { makeFolder } from '../../cni/folder.ts';
import type { Namespace } from '../../netlink/door.ts';
import { getLink, type Link, type LinkChanges, setLink } from '../../netlink/link.ts';
import { tolerating } from '../../netlink/message.ts';
import { codeOf } from '../failure.ts';
import type { StepKind } from '../kind.ts';
import { ipCommand } from '../render.ts';
import type { TuneStep } from '../step.ts';
import { namespaceOf, type Surroundings } from '../surroundings.ts';

/**
 * What was there before ADD. The first four are spelled as the reference's tuning plugin spells them, so that either can restore what
 * the other kept; it leaves out what was not changed, and does not know the rest.
 */
export interface Kept {
  mac?: string;
  promisc?: boolean;
  mtu?: number;
  allmulti?: boolean;
  txQLen?: number;
  sysctl?: Record<string, string>;
  network?: string;
  /** Of the container's network namespace: what is kept of another one means nothing to it. */
  sandbox?: string;
}

/** Undefined where there is none, or none that can be read. */
export function readKept(file: string): Kept | undefined {
  try {
    const kept = JSON.parse(fs.readFileSync(file, 'utf8'));
    return typeof kept === 'object' && kept !== null ? kept : undefined;
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function writeKept(file: string, kept: Kept): void {
  try {
    makeFolder(dirname(file), 0o700);
    const temporary = `${file}.new`;
    fs.writeFileSync(temporary, JSON.stringify(kept), { mode: 0o600 });
    fs.renameSync(temporary, file);
  } catch (error) {
    throw new CniError(
      ErrorCode.io,
      `cannot keep in ${file} what DEL has to restore: ${codeOf(error) ?? error}`,
      undefined,
      { cause: error },
    );
  }
}

async function readSysctls(container: Namespace, keys: readonly string[]): Promise<Record<string, string>> {
  const values: Record<string, string> = {};
  for (const key of keys) {
    try {
      values[key] = (await container.readFile(`/proc/sys/${key}`)).trim();
    } catch (error) {
      // What cannot be written either is for the step that writes it.
      if (!['ENOENT', 'EACCES', 'EPERM'].includes(codeOf(error) ?? '')) throw error;
    }
  }
  return values;
}

function wasBefore(step: TuneStep, link: Link): Kept {
  return {
    ...(step.mac !== undefined && link.mac !== undefined && { mac: link.mac }),
    ...(step.mtu !== undefined && { mtu: link.mtu }),
    ...(step.promiscuous !== undefined && { promisc: link.promiscuous }),
    ...(step.allMulticast !== undefined && { allmulti: link.allMulticast }),
    ...(step.txQueueLength !== undefined &&
      link.txQueueLength !== undefined && { txQLen: link.txQueueLength }),
  };
}

const wantedOf = ({ mac, mtu, promiscuous, allMulticast, txQueueLength }: TuneStep): LinkChanges => ({
  ...{ mac, mtu, promiscuous, allMulticast, txQueueLength },
});

/** Without a container, or a link, there is nothing to restore. */
async function restore({ dev, file }: TuneStep, { container }: Surroundings): Promise<void> {
  const kept = readKept(file);
  if (kept === undefined) return fs.rmSync(file, { force: true });
  const fits = kept.sandbox === undefined || kept.sandbox === container?.identity;
  const errors = container && fits ? await putBack(dev, kept, container) : [];
  // Also then: a DEL that is repeated must not fail for ever by what the kernel does not take back.
  fs.rmSync(file, { force: true });
  if (errors.length > 0) throw errors[0];
}

/** Goes on after an error. */
async function putBack(dev: string, kept: Kept, container: Namespace): Promise<unknown[]> {
  const errors: unknown[] = [];
  for (const [key, value] of Object.entries(kept.sysctl ?? {})) {
    await container.writeFile(`/proc/sys/${key}`, value).catch((error: unknown) => {
      // It goes with the link.
      if (codeOf(error) !== 'ENOENT') errors.push(error);
    });
  }
  const { mac, mtu, promisc, allmulti, txQLen } = kept;
  const changes = { mac, mtu, promiscuous: promisc, allMulticast: allmulti, txQueueLength: txQLen };
  await container
    .send(tolerating(setLink(dev, changes), 'ENODEV'))
    .catch((error: unknown) => errors.push(error));
  return errors;
}

export const tune: StepKind<TuneStep> = {
  async apply(step, run) {
    const container = namespaceOf(run.surroundings, 'container');
    const { value: link } = (await run.ask('container', getLink(step.dev))) as { value: Link };
    const sandbox = container.identity;
    const found = readKept(step.file);
    // What an ADD before this one kept is older: it was there first.
    const earlier = found?.sandbox === sandbox ? found : {};
    const kept = { ...wasBefore(step, link), ...earlier, network: step.network, sandbox };
    const sysctl = { ...(await readSysctls(container, step.sysctls)), ...earlier.sysctl };
    run.onUndo(`restore ${step.dev}`, () => restore(step, run.surroundings));
    writeKept(step.file, { ...kept, sysctl });
    run.push('container', setLink(link.index, wantedOf(step)));
  },

  async verify(step, look) {
    const link = await look.link('container', step.dev);
    if (!link)
      return [{ what: `link ${step.dev} in the container`, wanted: 'present', found: 'no such link' }];
    const wanted = wantedOf(step);
    return (['mac', 'mtu', 'promiscuous', 'allMulticast', 'txQueueLength'] as const).flatMap((field) => {
      if (wanted[field] === undefined || wanted[field] === link[field]) return [];
      return [
        {
          what: `${WORDS[field]} of ${step.dev} in the container`,
          wanted: String(wanted[field]),
          found: String(link[field]),
        },
      ];
    });
  },

  remove: restore,

  render({ dev, mac, mtu, promiscuous, allMulticast, txQueueLength }, { netns }) {
    const onOff = (value: boolean | undefined) => (value === undefined ? undefined : value ? 'on' : 'off');
    const words = { address: mac, mtu, promisc: onOff(promiscuous), allmulticast: onOff(allMulticast) };
    return Object.entries({ ...words, txqueuelen: txQueueLength }).flatMap(([word, value]) =>
      value === undefined ? [] : [ipCommand('container', netns, 'link', 'set', dev, word, value)],
    );
  },
};

const WORDS = {
  mac: 'MAC',
  mtu: 'MTU',
  promiscuous: 'promiscuous mode',
  allMulticast: 'all-multicast mode',
  txQueueLength: 'queue length',
} as const;
