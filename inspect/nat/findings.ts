/** What looks wrong about a host's NAT. Each check is a function of its own over what was read; docs/findings.md lists the codes. */
import type { Finding } from '../finding.ts';
import type { NatView } from './view.ts';

const CHECKS: readonly ((view: NatView) => Finding[])[] = [];

const GRAVITY = ['error', 'warning', 'note'] as const;

/** Findings of all checks, the gravest first. Never throws. */
export function natFindings(view: NatView): Finding[] {
  return CHECKS.flatMap((check) => check(view)).sort(
    (a, b) => GRAVITY.indexOf(a.severity) - GRAVITY.indexOf(b.severity),
  );
}
