/** Versions as a caller sees them. */
import { CniError, ErrorCode } from '../cni/errors.ts';
import { type CniVersion, SUPPORTED_VERSIONS } from '../cni/types.ts';
import { formatResult, isSupportedVersion, parseResult } from '../cni/versions.ts';
import type { NetworkList } from './conflist.ts';

/** The list's version. Throws CniError(incompatibleVersion) when weft does not know it. */
export function knownVersion({ cniVersion, name }: NetworkList): CniVersion {
  if (isSupportedVersion(cniVersion)) return cniVersion;
  throw new CniError(
    ErrorCode.incompatibleVersion,
    `network ${name} has cniVersion ${JSON.stringify(cniVersion)}: known are ${SUPPORTED_VERSIONS.join(', ')}`,
  );
}

/**
 * A cached result in the version of the list, which may have changed since ADD (SPEC 1.1, section 3, "Deleting an attachment").
 * One of the same version is passed on as it is. Throws CniError(incompatibleVersion, decoding).
 */
export function resultInVersionOf(
  list: NetworkList,
  result: Record<string, unknown>,
): Record<string, unknown> {
  const version = knownVersion(list);
  if (result.cniVersion === version) return result;
  const source = { name: 'the cached result', code: ErrorCode.decoding };
  return formatResult(parseResult(result, version, source), version);
}
