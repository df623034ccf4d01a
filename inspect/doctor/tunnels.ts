/** Tunnels between hosts: each route has a neighbour, and each neighbour an entry that says behind which host it is. */
import type { Link } from '../../netlink/link.ts';
import type { Finding } from '../finding.ts';
import type { Snapshot } from '../host/snapshot.ts';
import type { DoctorView } from './view.ts';

/** Who learns by himself, or floods to a group or a remote, asks for what is missing. */
const isStatic = ({ kind, vxlan, port }: Link) =>
  kind === 'vxlan' && vxlan !== undefined && (vxlan.learning === false || port?.learning === false);

export function tunnelGaps({ nat: { host } }: DoctorView): Finding[] {
  return host.links
    .filter(isStatic)
    .flatMap((link) => [...macsUnknown(host, link), ...hopsUnknown(host, link)]);
}

const FLOOD = '00:00:00:00:00:00';

function macsUnknown(host: Snapshot, { index, name, master }: Link): Finding[] {
  const known = new Set(
    host.fdb.flatMap(({ link, mac, dst }) => (link === index && dst !== undefined ? [mac] : [])),
  );
  if (known.has(FLOOD)) return [];
  // In a stretched network the bridge has the neighbours, those of containers here among them: the bridge's own entries tell.
  const bridged = new Set(
    host.fdb.flatMap(({ link, mac, master: at }) => (at === master && link === index ? [mac] : [])),
  );
  return host.neighbours.flatMap(({ link, address, mac, permanent }): Finding[] => {
    const isBehind = link === index || (link === master && mac !== undefined && bridged.has(mac));
    if (!permanent || !isBehind || mac === undefined || known.has(mac)) return [];
    return [
      {
        code: 'tunnel-fdb-missing',
        severity: 'error',
        what: `${name} does not know behind which host ${mac} (${address}) is`,
        why: `packets for ${address} and what is behind it are dropped by the tunnel: its table of hosts (bridge fdb) lacks the entry; the agent (weft agent) puts it back`,
        mend: [`bridge fdb replace ${mac} dev ${name} dst HOST self permanent`],
        safe: false,
        subject: mac,
      },
    ];
  });
}

function hopsUnknown(host: Snapshot, { index, name }: Link): Finding[] {
  return host.routes.flatMap(({ link, gateway, dst }): Finding[] => {
    if (link !== index || gateway === undefined) return [];
    const entry = host.neighbours.find((one) => one.link === index && one.address === gateway);
    if (entry?.mac !== undefined && !entry.failed) return [];
    return [
      {
        code: 'tunnel-neighbour-missing',
        severity: 'error',
        what: `${name} leads to ${dst} by ${gateway}, and nobody knows the MAC of ${gateway}`,
        why: 'the tunnel asks nobody: what is for that host is dropped; the agent (weft agent) puts the neighbour back',
        mend: [`ip neigh replace ${gateway} lladdr MAC dev ${name} nud permanent`],
        safe: false,
        subject: gateway,
      },
    ];
  });
}
