/** A link that swallows what it is to send: for addresses that are there whatever becomes of the others. */
import { deleteLink } from '../../netlink/link.ts';
import { createDummy } from '../../netlink/link-kinds.ts';
import { tolerating } from '../../netlink/message.ts';
import type { StepKind } from '../kind.ts';
import { ipCommand } from '../render.ts';
import type { DummyStep } from '../step.ts';
import { namespaceOf } from '../surroundings.ts';
import { explainKind, insideDifferences, missingInside, removeInside } from './inside-link.ts';

const KIND = 'dummy';

export const dummy: StepKind<DummyStep> = {
  async apply({ name, mac, mtu, up, alias }, run) {
    const container = namespaceOf(run.surroundings, 'container');
    const reply = await run.ask('container', createDummy({ name, mac, mtu, up, alias }), {
      undo: {
        what: `delete link ${name} in the container`,
        undo: () => container.send(tolerating(deleteLink(name), 'ENODEV')),
      },
      partly: true,
      explain: (error) => explainKind(KIND, error),
    });
    if (reply.ok) run.learn('container', name, reply.value);
  },

  async verify(step, look) {
    const link = await look.link('container', step.name);
    return link ? insideDifferences(step, KIND, link) : [missingInside(step.name)];
  },

  remove: (step, surroundings) => removeInside(step, KIND, surroundings),

  render({ name, mac, mtu, up, alias }, { netns }) {
    const inside = (...words: Parameters<typeof ipCommand>[2][]) => ipCommand('container', netns, ...words);
    return [
      inside(
        ...['link', 'add', name, ...(mac ? ['address', mac] : [])],
        ...(mtu ? ['mtu', mtu] : []),
        up && 'up',
        ...['type', 'dummy'],
      ),
      inside('link', 'set', name, 'alias', alias),
    ];
  },
};
