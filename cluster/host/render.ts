/** A state as the lines that a person would type. Pure. */
import { familyOf, hostPrefix } from '../../cni/prefix.ts';
import { quote } from '../../plan/render.ts';
import { type Bridge, type Device, type Entry, type HostState, RTPROT_WEFT } from './state.ts';

type Word = string | number | false | undefined;

const line = (...words: Word[]) =>
  words
    .filter((word) => word !== false && word !== undefined && word !== '')
    .map((word) => quote(String(word)))
    .join(' ');

function bridgeLines({ name, mac, mtu }: Bridge): string[] {
  return [
    line('ip', 'link', 'add', name, 'address', mac, 'up', 'type', 'bridge'),
    line('ip', 'link', 'set', name, 'mtu', mtu),
  ];
}

function deviceLines(device: Device): string[] {
  const { name, alias, vni, port, local, mac, mtu, bridge, checksumOffload } = device;
  const vxlan = ['type', 'vxlan', 'id', vni, 'dstport', port, 'local', local, 'nolearning'];
  const quiet = ['neigh_suppress', 'on', ...['learning', 'flood', 'mcast_flood', 'bcast_flood'].flatMap(off)];
  return [
    line('ip', 'link', 'add', name, 'address', mac, 'mtu', mtu, ...vxlan),
    line('ip', 'link', 'set', name, 'alias', alias),
    ...(bridge === undefined
      ? []
      : [
          line('ip', 'link', 'set', name, 'master', bridge),
          line('ip', 'link', 'set', name, 'type', 'bridge_slave', ...quiet),
        ]),
    line('ip', 'link', 'set', name, 'up'),
    ...(checksumOffload ? [] : [line('ethtool', '-K', name, 'tx', 'off')]),
  ];
}

const off = (word: string) => [word, 'off'];

/** One entry: `ip route add ...`, `bridge fdb add ...`. */
export function renderEntry(entry: Entry): string {
  switch (entry.kind) {
    case 'address': {
      const { address, dev } = entry;
      return line(...['ip', 'addr', 'add', address, 'dev', dev], familyOf(address) === 6 && 'nodad');
    }
    case 'route': {
      const { dst, via, dev, onlink, metric } = entry;
      const six = familyOf(dst) === 6;
      // ip(8) takes these for IPv6 anyway.
      const told = metric === 0 || (six && metric === 1024) ? [] : ['metric', metric];
      return line(
        ...['ip', six && '-6', 'route', 'add', dev === undefined && 'unreachable'],
        ...[dst === hostPrefix(dst) ? dst.split('/')[0] : dst],
        ...(via === undefined ? [] : ['via', via]),
        ...(dev === undefined ? [] : ['dev', dev]),
        onlink && 'onlink',
        ...['proto', RTPROT_WEFT, ...told],
      );
    }
    case 'neighbour': {
      const { address, mac, dev } = entry;
      const lasting = ['nud', 'permanent', 'proto', RTPROT_WEFT];
      return line(...['ip', 'neigh', 'add', address, 'lladdr', mac, 'dev', dev], ...lasting);
    }
    case 'fdb': {
      const { mac, dev, dst, inBridge } = entry;
      const where = ['self', inBridge && 'master', 'static'];
      return line(...['bridge', 'fdb', 'add', mac, 'dev', dev, 'dst', dst], ...where);
    }
  }
}

/** Lines of ip(8), bridge(8) and ethtool(8) that make the state of nothing. */
export function render({ bridge, device, entries }: HostState): string[] {
  const list = [...entries.values()];
  return [
    ...(bridge ? bridgeLines(bridge) : []),
    ...(device ? deviceLines(device) : []),
    // Routes last: what they lead to is there by then.
    ...list.filter(({ kind }) => kind !== 'route').map(renderEntry),
    ...list.filter(({ kind }) => kind === 'route').map(renderEntry),
  ];
}
