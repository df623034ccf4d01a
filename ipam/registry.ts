import type { Ipam } from './ipam.ts';

/**
 * The address management of a type, when it is one of ours, to be run in this process. Loaded when asked for: a start does
 * not pay for the others. Undefined for any other type: it is executed as SPEC 1.1, section 4 says.
 */
export async function ownIpam(type: string): Promise<Ipam | undefined> {
  if (type === 'host-local') return (await import('./host-local/host-local.ts')).hostLocal;
  if (type === 'static') return (await import('./static/static.ts')).staticIpam;
  if (type === 'cluster') return (await import('./cluster/cluster.ts')).cluster;
  return undefined;
}
