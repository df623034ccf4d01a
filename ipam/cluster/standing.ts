/** Whether this host's part of a network between hosts may be used just now. */
import { CniError, ErrorCode } from '../../cni/errors.ts';
import { type Membership, membershipFile, readMembership } from './membership.ts';

const start = 'start `weft agent --registry FILE` (or etcd://...), which joins the networks of the conflists';

/** Throws CniError(io) when the file is there and cannot be read. */
function look(cacheDir: string, network: string): Membership | undefined {
  try {
    return readMembership(cacheDir, network);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new CniError(
      ErrorCode.io,
      `what this host holds of network ${network} cannot be read from ${membershipFile(cacheDir, network)}: ${code ?? error}`,
      undefined,
      { cause: error },
    );
  }
}

/** Why no address may be given out; undefined when one may. A lapsed subnet may be another host's by now. */
function fault(membership: Membership | undefined, network: string, now: number): string | undefined {
  if (membership === undefined) return `this host has not joined network ${network}: ${start}`;
  const { validUntil, problem, refuses } = membership;
  if (refuses && problem !== undefined) return problem;
  if (validUntil === undefined || now < validUntil) return undefined;
  const since = new Date(validUntil).toISOString();
  const why = problem === undefined ? '' : ` (${problem})`;
  return (
    `this host's part of network ${network} lapsed at ${since} and may be another host's by now${why}: ` +
    'see that `weft agent` runs and reaches the registry'
  );
}

/** What a new container may be attached with. `now` in milliseconds since the epoch. Throws CniError(tryAgain) or (io). */
export function requireMembership(cacheDir: string, network: string, now: number): Membership {
  const membership = look(cacheDir, network);
  const problem = fault(membership, network, now);
  if (membership === undefined || problem !== undefined)
    throw new CniError(ErrorCode.tryAgain, problem ?? '');
  return membership;
}

/** STATUS. Throws CniError(notAvailable or limitedConnectivity), or (io). */
export function requireGoodStanding(cacheDir: string, network: string, now: number): Membership {
  const membership = look(cacheDir, network);
  const problem = fault(membership, network, now) ?? membership?.problem;
  const code = membership?.limited ? ErrorCode.limitedConnectivity : ErrorCode.notAvailable;
  if (membership === undefined || problem !== undefined) throw new CniError(code, problem ?? '');
  return membership;
}
