/** Asks the other hosts of networks between hosts what time it is there. */
import { aheadBy, clockQuestion } from '../../inspect/doctor/clocks.ts';
import type { Clock, Membership } from '../../inspect/doctor/view.ts';
import { AF_INET } from '../../netlink/codec.ts';
import type { Namespace } from '../../netlink/door.ts';
import { InsideSocket, inetAddress, readInetAddress, SOCK_RAW } from '../../netlink/socket.ts';

const IPPROTO_ICMP = 1;
/** Milliseconds in which a host answers, or is left out: many are told to answer no such question. */
const PATIENCE = 500;
/** Hosts that are asked, of all networks. */
const MOST = 64;

/** All at once, by IPv4. Whoever does not answer is left out. Throws nothing. */
export async function readClocks(
  memberships: readonly Membership[],
  host: Namespace,
  now: () => number,
): Promise<Clock[]> {
  const asked = new Map(
    memberships.flatMap(({ network, members }) =>
      members.flatMap(({ host: name, self, addresses }) =>
        self ? [] : addresses.filter(isV4).map((address) => [address, { network, host: name }] as const),
      ),
    ),
  );
  const addresses = [...asked.keys()].slice(0, MOST);
  if (addresses.length === 0) return [];
  const found = await ask(host, addresses, now).catch(() => new Map<string, number>());
  return [...found].flatMap(([address, ahead]) => {
    const who = asked.get(address);
    return who === undefined ? [] : [{ ...who, address, ahead }];
  });
}

const isV4 = (address: string) => !address.includes(':');

/** Milliseconds ahead, by address. */
async function ask(
  host: Namespace,
  addresses: readonly string[],
  now: () => number,
): Promise<Map<string, number>> {
  const found = new Map<string, number>();
  const id = 1 + (now() % 0xffff);
  let enough: () => void = () => {};
  const all = new Promise<void>((resolve) => {
    enough = resolve;
  });
  const kind = { domain: AF_INET, type: SOCK_RAW, protocol: IPPROTO_ICMP, room: 128 };
  const socket = await InsideSocket.open(host, kind, {
    received: ({ bytes, address }) => {
      const ahead = aheadBy(bytes, id, now());
      const from = readInetAddress(address).address;
      if (ahead !== undefined && addresses.includes(from)) found.set(from, ahead);
      if (found.size === addresses.length) enough();
    },
    failed: () => {},
  });
  const timer = setTimeout(() => setImmediate(enough), PATIENCE);
  try {
    for (const address of addresses) {
      try {
        socket.send(clockQuestion(id, now()), inetAddress(address));
      } catch {
        // No way there: another check tells.
      }
    }
    await all;
  } finally {
    clearTimeout(timer);
    socket.close();
  }
  return found;
}
