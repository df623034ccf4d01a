/** A link whose other end is a program. */
import fs from 'node:fs';
import { CniError, ErrorCode } from '../../cni/errors.ts';
import { deleteLink, getLink, setLink } from '../../netlink/link.ts';
import { tolerating } from '../../netlink/message.ts';
import { createTap, IFF_TAP } from '../../netlink/tun.ts';
import type { Difference } from '../difference.ts';
import { codeOf } from '../failure.ts';
import type { StepKind } from '../kind.ts';
import { command, ipCommand } from '../render.ts';
import type { Run } from '../run.ts';
import type { TapStep } from '../step.ts';
import { namespaceOf } from '../surroundings.ts';
import { insideDifferences, missingInside, noKind, removeInside } from './inside-link.ts';

/** What the kernel calls tun and tap links alike. */
const KIND = 'tun';
const DEVICE = '/dev/net/tun';
const NO_TUN = ['ENOENT', 'ENODEV', 'ENXIO'];

function noTun(error: unknown): CniError {
  return noKind(KIND, new Error(`cannot open ${DEVICE}: ${codeOf(error) ?? error}`));
}

/** Throws CniError(notAvailable) where there are no tap links. */
export function requireTun(): void {
  try {
    fs.closeSync(fs.openSync(DEVICE, 'r+'));
  } catch (error) {
    const { message, details } = noTun(error);
    throw new CniError(ErrorCode.notAvailable, `no ADD can succeed: ${message}`, details);
  }
}

async function make(step: TapStep, run: Run): Promise<void> {
  const { name } = step;
  const container = namespaceOf(run.surroundings, 'container');
  try {
    await createTap(container, step);
  } catch (error) {
    const code = codeOf(error) ?? '';
    if (NO_TUN.includes(code)) throw noTun(error);
    // What could not be given to its owner is not persistent: it is gone by now.
    if (code === 'EBUSY')
      throw new CniError(
        ErrorCode.conflict,
        `the container has a link ${name} already: CNI_IFNAME must be a free name`,
      );
    throw error;
  }
  run.onUndo(`delete link ${name} in the container`, () =>
    container.send(tolerating(deleteLink(name), 'ENODEV')),
  );
}

/** Index of the bridge in the container. Throws CniError(invalidConfig). */
async function findMaster(name: string, run: Run): Promise<number> {
  const reply = await run.ask('container', tolerating(getLink(name), 'ENODEV'));
  if (reply.ok && reply.value.kind === 'bridge') return reply.value.index;
  const found = reply.ok ? `a link of kind ${reply.value.kind ?? 'none'}` : 'nothing';
  throw new CniError(
    ErrorCode.invalidConfig,
    `bridge: wanted a bridge ${name} in the container, found ${found}: another plugin has to make it before`,
  );
}

export const tap: StepKind<TapStep> = {
  async apply(step, run) {
    const { name, mac, mtu, up, alias } = step;
    const master = step.master === undefined ? undefined : await findMaster(step.master, run);
    await make(step, run);
    run.push('container', setLink(name, { mac, mtu, master, alias, up: up || undefined }));
    const reply = await run.ask('container', getLink(name));
    if (reply.ok) run.learn('container', name, reply.value);
  },

  async verify(step, look) {
    const { name, owner, group, multiQueue = false } = step;
    const link = await look.link('container', name);
    if (!link) return [missingInside(name)];
    const differences: Difference[] = insideDifferences(step, KIND, link);
    if (link.kind !== KIND) return differences;
    const what = `tap ${name} in the container`;
    const compare = (word: string, wanted: unknown, found: unknown) => {
      if (wanted === found) return;
      differences.push({ what: `${word} of ${what}`, wanted: `${wanted}`, found: `${found ?? 'none'}` });
    };
    compare('type', IFF_TAP, link.tun?.type);
    compare('multiple queues', multiQueue, link.tun?.multiQueue);
    if (owner !== undefined) compare('owner', owner, link.tun?.owner);
    if (group !== undefined) compare('group', group, link.tun?.group);
    if (step.master === undefined) return differences;
    const master = await look.link('container', step.master);
    if (!master || link.master !== master.index)
      differences.push({ what, wanted: `port of ${step.master}`, found: 'no port of it' });
    return differences;
  },

  remove: (step, surroundings) => removeInside(step, KIND, surroundings),

  render({ name, mac, mtu, up, alias, owner, group, multiQueue, master }, { netns }) {
    const number = (word: string, value: number | undefined) =>
      value === undefined ? '' : ` ${word} ${value}`;
    const mode = `${multiQueue ? ' multi_queue' : ''}${number('user', owner)}${number('group', group)}`;
    return [
      command('container', netns, `ip tuntap add dev ${name} mode tap${mode}`),
      ipCommand(
        ...(['container', netns, 'link', 'set', name] as const),
        ...(mac ? ['address', mac] : []),
        ...(mtu ? ['mtu', mtu] : []),
        ...(master ? ['master', master] : []),
        up && 'up',
        ...['alias', alias],
      ),
    ];
  },
};
