import { announcements } from '../frames.ts';
import type { StepKind } from '../kind.ts';
import { familyOf } from '../prefix.ts';
import { command } from '../render.ts';
import type { AnnounceStep } from '../step.ts';
import { namespaceOf } from '../surroundings.ts';

export const announce: StepKind<AnnounceStep> = {
  async apply({ dev, mac, addresses }, run) {
    const { index } = await run.link('container', dev);
    // After the last address: an answer to the announcement must find it.
    run.atEnd(async () => {
      const frames = addresses.flatMap((address) => announcements(mac, address));
      await namespaceOf(run.surroundings, 'container').transmit(index, frames);
    });
  },

  // An announcement leaves nothing to look at.
  verify: async () => [],

  render: ({ dev, addresses }, { netns }) =>
    addresses.map((address) =>
      familyOf(address) === 4
        ? command('container', netns, `arping -c 1 -A -I ${dev} ${address}`)
        : command('container', netns, `ndsend ${address} ${dev}`),
    ),
};
