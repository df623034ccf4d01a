/** A CNI result as a person reads it. */
import { ErrorCode } from '../../cni/errors.ts';
import type { CniVersion, Interface, Result, Route } from '../../cni/types.ts';
import { parseResult } from '../../cni/versions.ts';
import { table } from '../table.ts';

/** Lines for a result as a plugin printed it. Throws CniError(decoding) when it is none. */
export function describeResult(raw: Record<string, unknown>, version: CniVersion): string[] {
  const result = parseResult(raw, version, { name: 'result', code: ErrorCode.decoding });
  return table([
    ...result.ips.map((ip) => [
      'address',
      ip.address,
      ip.gateway ? `gateway ${ip.gateway}` : '',
      on(result, ip.interface),
    ]),
    ...result.routes.map((route) => [
      'route',
      route.dst,
      route.gw ? `via ${route.gw}` : '',
      routeDetails(route),
    ]),
    ...result.interfaces.map((link) => [
      'interface',
      link.name,
      link.mac ?? '',
      [link.mtu ? `mtu ${link.mtu}` : '', place(link)].filter((text) => text !== '').join(' '),
    ]),
    ...dns(result),
  ]).map((line) => `  ${line}`);
}

function on(result: Result, index: number | undefined): string {
  const link = index === undefined ? undefined : result.interfaces[index];
  return link === undefined ? '' : `on ${link.name}`;
}

function place(link: Interface): string {
  return link.sandbox ? `in ${link.sandbox}` : 'on the host';
}

function routeDetails(route: Route): string {
  const { mtu, advmss, priority, table, scope } = route;
  return Object.entries({ mtu, advmss, priority, table, scope })
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name} ${value}`)
    .join(' ');
}

function dns({ dns }: Result): string[][] {
  const words = (list: readonly string[] | undefined): string => (list ?? []).join(' ');
  return [
    ['dns', words(dns.nameservers), 'nameservers'],
    ['dns', dns.domain ?? '', 'domain'],
    ['dns', words(dns.search), 'search'],
    ['dns', words(dns.options), 'options'],
  ].filter(([, value]) => value !== '');
}
