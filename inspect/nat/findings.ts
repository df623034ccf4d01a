/** What looks wrong about a host's NAT. Each check is a function of its own over what was read; docs/findings.md lists the codes. */
import type { Finding } from '../finding.ts';
import {
  bothIptables,
  bridgeCallsIptables,
  conntrackFull,
  forwardingOff,
  rulesUnread,
} from './host-settings.ts';
import { withoutContainer } from './leftovers.ts';
import { portsOwnedTwice } from './ports-owned-twice.ts';
import { shadowedMasquerades } from './shadowed.ts';
import type { NatView } from './view.ts';
import { mtuMismatch, reversePathDrops } from './ways.ts';

const CHECKS: readonly ((view: NatView) => Finding[])[] = [
  portsOwnedTwice,
  shadowedMasquerades,
  forwardingOff,
  reversePathDrops,
  mtuMismatch,
  conntrackFull,
  withoutContainer,
  bothIptables,
  bridgeCallsIptables,
  rulesUnread,
];

const GRAVITY = ['error', 'warning', 'note'] as const;

/** Findings of all checks, the gravest first. Never throws. */
export function natFindings(view: NatView): Finding[] {
  return CHECKS.flatMap((check) => check(view)).sort(
    (a, b) => GRAVITY.indexOf(a.severity) - GRAVITY.indexOf(b.severity),
  );
}
