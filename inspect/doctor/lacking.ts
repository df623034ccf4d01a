/** What attachments need and have not, and what is left of those that are gone. */
import type { Finding } from '../finding.ts';
import type { DoctorView } from './view.ts';

export function attachmentsLacking({ lacking }: DoctorView): Finding[] {
  return lacking.map(({ network, containerId, ifname, kind, what, mend }) => ({
    code: kind === 'rules' ? 'rules-missing' : 'attachment-incomplete',
    severity: 'error',
    what: `${ifname} of container ${containerId} on network ${network} lacks ${some(what)}`,
    why: 'ADD made it and somebody took it away: the container works in part, or not at all. A running agent (weft agent) puts it back',
    mend,
    // Done by what ADD does, which hurts nobody.
    safe: true,
    subject: `${network} ${containerId} ${ifname}`,
  }));
}

export function attachmentsLeft({ remains }: DoctorView): Finding[] {
  return remains.map(({ network, containerId, ifname, dead, reason }) => ({
    code: 'attachment-left-behind',
    severity: dead ? 'warning' : 'note',
    what: `container ${containerId} ${dead ? 'is gone' : 'may be gone'}, and its attachment to ${network} (${ifname}) is not: ${reason}`,
    why: 'its runtime never called DEL: its addresses stay leased, its rules stay',
    mend: [`weft net del ${network} --id ${containerId} --ifname ${ifname}`],
    safe: dead,
    subject: `${network} ${containerId} ${ifname}`,
  }));
}

/** Where base rules are gone, each of them is. */
function some([first = '', second, ...more]: readonly string[]): string {
  if (second === undefined) return first;
  return more.length === 0 ? `${first}, ${second}` : `${first}, and ${more.length + 1} more`;
}
