/** What looks wrong about a host. Each check is a function of its own over what was read; docs/findings.md lists the codes. */
import type { Finding } from '../finding.ts';
import { natFindings } from '../nat/findings.ts';
import { duplicateAddresses, promisesBroken, wrongNeighbours } from './addresses.ts';
import { clocksDiffer } from './clocks.ts';
import { staleConnections } from './connections.ts';
import { heldPorts } from './held-ports.ts';
import { attachmentsLacking, attachmentsLeft } from './lacking.ts';
import { doubledLeases, leakedLeases, unleasedAddresses } from './leases.ts';
import { duplicateMacs, isolatedPorts, linksDown, linksWithoutOwner, outOfBridge } from './links.ts';
import { memberships, pathTooNarrow } from './members.ts';
import { linkPrograms } from './programs.ts';
import { gatewaysGone, routesElsewhere } from './routes.ts';
import { configurations, software } from './software.ts';
import { tunnelGaps } from './tunnels.ts';
import type { DoctorView } from './view.ts';
import { blockedWays, droppedByRules } from './ways.ts';

const CHECKS: readonly ((view: DoctorView) => Finding[])[] = [
  ({ nat }) => natFindings(nat),
  linksDown,
  outOfBridge,
  duplicateAddresses,
  duplicateMacs,
  wrongNeighbours,
  promisesBroken,
  gatewaysGone,
  routesElsewhere,
  tunnelGaps,
  droppedByRules,
  attachmentsLacking,
  staleConnections,
  heldPorts,
  memberships,
  pathTooNarrow,
  clocksDiffer,
  isolatedPorts,
  attachmentsLeft,
  leakedLeases,
  doubledLeases,
  unleasedAddresses,
  linksWithoutOwner,
  linkPrograms,
  configurations,
  software,
];

const GRAVITY = ['error', 'warning', 'note'] as const;

/** Findings of all checks, the gravest first. Never throws. */
export function doctorFindings(view: DoctorView): Finding[] {
  const found = CHECKS.flatMap((check) => check(view));
  // A way that is blocked is news only where nothing else says why.
  const rest = found.some(({ severity }) => severity === 'error') ? [] : blockedWays(view);
  return [...found, ...rest].sort((a, b) => GRAVITY.indexOf(a.severity) - GRAVITY.indexOf(b.severity));
}
