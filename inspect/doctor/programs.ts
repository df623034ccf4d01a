/** Programs and filters on the links of containers and on those that lead out: what they do with packets, nobody can tell from outside. */
import type { Finding } from '../finding.ts';
import { attached, type DoctorView } from './view.ts';

export function linkPrograms(view: DoctorView): Finding[] {
  const { host } = view.nat;
  const ends = new Map(
    attached(view).map(({ outside, inside, container }) => [
      outside.index,
      `${outside.name}, the host's end of ${inside.name} of container ${container}`,
    ]),
  );
  return (host.programs ?? []).map(({ link, at, words }): Finding => {
    const name = host.links.find(({ index }) => index === link)?.name ?? `link ${link}`;
    const does = at === 'egress' ? 'what leaves by' : 'what comes in by';
    return {
      code: 'link-program',
      severity: 'note',
      what: `${words} looks at ${does} ${ends.get(link) ?? name}`,
      why: 'it may drop packets, rewrite them or send them elsewhere, before or after any rule sees them: "weft trace" sends one and looks',
      mend: [],
      safe: false,
      subject: name,
    };
  });
}
