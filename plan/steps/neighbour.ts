import { canonical } from '../../cni/prefix.ts';
import { replaceNeighbour } from '../../netlink/neighbour.ts';
import type { StepKind } from '../kind.ts';
import { ipCommand } from '../render.ts';
import type { NeighbourStep } from '../step.ts';
import { place } from '../surroundings.ts';

/** Permanent: the kernel never asks for it and never forgets it. */
export const neighbour: StepKind<NeighbourStep> = {
  async apply(step, run) {
    const { index } = await run.link(step.in, step.dev);
    run.push(step.in, replaceNeighbour({ link: index, address: step.address, mac: step.mac }));
  },

  async verify(step, look) {
    const what = `neighbour ${step.address} on ${step.dev} ${place(step.in)}`;
    const link = await look.link(step.in, step.dev);
    if (!link) return [{ what, wanted: step.mac, found: `no link ${step.dev}` }];
    const all = await look.neighbours(step.in, step.dev);
    const found = all.find(({ address }) => address && canonical(address) === canonical(step.address))?.mac;
    return found === step.mac ? [] : [{ what, wanted: step.mac, found: found ?? 'nothing' }];
  },

  render: ({ in: where, dev, address, mac }, { netns }) => [
    ipCommand(where, netns, 'neigh', 'replace', address, 'lladdr', mac, 'dev', dev, 'nud', 'permanent'),
  ],
};
