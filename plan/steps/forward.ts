import { sourceWords } from '../../firewall/firewalld.ts';
import type { Admission } from '../../firewall/forward.ts';
import { renderIptables } from '../../firewall/forward-iptables-rules.ts';
import { renderNftables } from '../../firewall/forward-ruleset.ts';
import { setLink } from '../../netlink/link.ts';
import { tolerating } from '../../netlink/message.ts';
import type { StepKind } from '../kind.ts';
import { ipCommand } from '../render.ts';
import type { ForwardStep } from '../step.ts';

export function admissionOf({ kind: _, isolated: _isolated, ...admission }: ForwardStep): Admission {
  return admission;
}

/** Only where it is asked for: whether firewalld runs is not known here. */
function renderZone({ zone, required, addresses }: ForwardStep): string[] {
  if (required !== 'zone') return [];
  return addresses.map((one) => `firewall-cmd --zone=${zone} --add-source=${sourceWords(one)}`);
}

export const forward: StepKind<ForwardStep> = {
  async apply(step, run) {
    const rules = await run.surroundings.forward();
    const admission = admissionOf(step);
    // Also when it fails in between.
    run.onUndo(`withdraw what ${step.containerId} is let through by`, () => rules.withdraw(admission));
    await rules.admit(admission);
    if (step.isolated === undefined) return;
    // Within a bridge no rule of IP is asked. Goes with the link; what is no port of a bridge reaches nobody that way.
    const op = setLink(step.isolated, { port: { isolated: true } });
    run.push('host', tolerating(op, 'ENODEV', 'EOPNOTSUPP', 'EINVAL'));
  },

  async verify(step, look) {
    const rules = await look.surroundings.forward();
    const missing = await rules.missing([admissionOf(step)]);
    return missing
      .flat()
      .map((what) => ({ what: `forwarding: ${what}`, wanted: 'present', found: 'nothing' }));
  },

  async remove(step, surroundings) {
    await (await surroundings.forward()).withdraw(admissionOf(step));
  },

  render: (step, { netns }) => [
    ...(step.rules === 'iptables' ? renderIptables : renderNftables)(admissionOf(step)),
    ...renderZone(step),
    ...(step.isolated === undefined
      ? []
      : [ipCommand('host', netns, 'link', 'set', step.isolated, 'type', 'bridge_slave', 'isolated', 'on')]),
  ],
};
