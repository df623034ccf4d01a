import { setLink } from '../../netlink/link.ts';
import type { StepKind } from '../kind.ts';
import { ipCommand } from '../render.ts';
import type { LinkUpStep } from '../step.ts';
import { place } from '../surroundings.ts';

export const linkUp: StepKind<LinkUpStep> = {
  async apply(step, run) {
    const { index } = await run.link(step.in, step.dev);
    run.push(step.in, setLink(index, { up: true }));
  },

  async verify(step, look) {
    const link = await look.link(step.in, step.dev);
    if (link?.up) return [];
    return [
      { what: `link ${step.dev} ${place(step.in)}`, wanted: 'up', found: link ? 'down' : 'no such link' },
    ];
  },

  render: (step, { netns }) => [ipCommand(step.in, netns, 'link', 'set', step.dev, 'up')],
};
