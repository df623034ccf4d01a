/** Something that looks wrong on a host: what `weft nat`, `weft trace` and `weft doctor` tell people. */

export interface Finding {
  /** Stable, for scripts: `forwarding-off`, `port-owned-twice`. docs/findings.md lists them. */
  code: string;
  /** `error`: packets are lost now; `warning`: they will be, or something is left behind; `note`: worth knowing. */
  severity: 'error' | 'warning' | 'note';
  /** What was found, with its name and values. */
  what: string;
  /** Why it matters. */
  why: string;
  /** The commands that mend it, as a person would type them; empty where there is none. */
  mend: readonly string[];
  /** Whether `weft doctor --fix` may run them: nothing that carries traffic or belongs to somebody else can be hurt. */
  safe: boolean;
  /** What it is about, to tell two findings of one code apart: `eth0`, `tcp 8080`, a container id. */
  subject: string;
}
