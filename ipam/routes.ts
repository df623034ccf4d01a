import { CniError, ErrorCode } from '../cni/errors.ts';
import { parseAddress, parsePrefix } from '../cni/prefix.ts';
import type { Route } from '../cni/types.ts';

/** `ipam.routes`, checked for what the schema cannot; every field is passed on. Throws CniError(invalidConfig). */
export function readRoutes(routes: readonly Route[]): Route[] {
  for (const [n, { dst, gw }] of routes.entries()) {
    const to = parsePrefix(dst);
    if (to === undefined) throw badRoute(`ipam.routes[${n}].dst`, 'a prefix such as 0.0.0.0/0 or ::/0', dst);
    if (!gw) continue;
    if (parseAddress(gw)?.family !== to.address.family) {
      throw badRoute(`ipam.routes[${n}].gw`, `an address of the family of ${dst}`, gw);
    }
  }
  return routes.map(({ gw, ...route }) => (gw ? { ...route, gw } : route));
}

function badRoute(field: string, wanted: string, found: string): CniError {
  return new CniError(ErrorCode.invalidConfig, `${field}: wanted ${wanted}, found ${JSON.stringify(found)}`);
}
