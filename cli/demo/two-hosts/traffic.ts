/** Whether every container reaches every other and the outside, and as whose packets arrive. */
import type { Place } from '../lab.ts';
import type { Progress } from '../progress.ts';
import { familyOf } from '../traffic.ts';
import { type ClusterHost, type ClusterLab, OUTSIDE } from './lab.ts';

export interface Container {
  name: Place;
  host: ClusterHost;
  addresses: readonly string[];
}

const PORT = 7777;

/** Answers each connection with the address that it came from. */
const ECHO_PEER = `require('node:net')
  .createServer((socket) => socket.end(socket.remoteAddress.replace('::ffff:', '') + '\\n'))
  .listen(${PORT}, '::', () => console.log('ready'));`;

/**
 * For each address: whether it answers a ping, and who it says that we are. bash speaks TCP by itself. Several attempts: hosts tell each
 * other of containers after ADD has answered, and one error of the network ends a ping.
 */
const ASK = `within() { for attempt in 1 2 3 4 5 6 7 8; do "$@" && return; sleep 0.5; done; }
answers() { ping -n -q -c 1 -i 0.2 -w 5 "$1" >/dev/null && echo "$1 ping yes"; }
sees() {
  seen=$(timeout 5 bash --norc -c 'exec 3<>"/dev/tcp/$0/${PORT}" && cat <&3' "$1" 2>/dev/null) && echo "$1 tcp $seen"
}
for address in "$@"; do within answers "$address" & within sees "$address" & done
wait`;

export async function serveEverywhere({ lab }: ClusterLab, containers: readonly Container[]): Promise<void> {
  await Promise.all(
    ['outside', ...containers.map(({ name }) => name)].map((place) => lab.serve(place, ECHO_PEER)),
  );
}

/** Everybody to everybody, one line for each container. */
export async function reachAll(
  cluster: ClusterLab,
  progress: Progress,
  containers: readonly Container[],
): Promise<void> {
  for (const from of containers) {
    const others = containers.filter((one) => one !== from);
    const families = new Set(from.addresses.map(familyOf));
    const outside = [OUTSIDE.v4, OUTSIDE.v6].filter((address) => families.has(familyOf(address)));
    const targets = [...others.flatMap(({ addresses }) => addresses), ...outside];
    const { stdout } = await cluster.lab.run(from.name, 'bash', ['--norc', '-c', ASK, 'ask', ...targets]);
    const answers = new Set(stdout.trim().split('\n'));
    const wrong = targets.flatMap((target) => {
      const family = familyOf(target);
      const own = from.addresses.find((address) => familyOf(address) === family);
      const seen = outside.includes(target as never) ? from.host[family] : own;
      return [`${target} ping yes`, `${target} tcp ${seen}`].filter((answer) => !answers.has(answer));
    });
    const names = others.map(({ name }) => name).join(', ');
    const detail = `ping and TCP, ${[...families].map((family) => `IP${family}`).join(' and ')}`;
    progress.check(
      wrong.length === 0,
      `${from.name} reaches ${names} as itself, the outside as ${from.host.name}`,
      wrong.length === 0 ? detail : `wanted ${wrong.join(', ')}; got ${[...answers].join(', ')}`,
    );
  }
}
