/**
 * A host with two containers, routed and wired by hand, and an outside host that knows no way back to them: what it answers
 * to must have left with the host's address. Every container answers UDP datagrams with the address it saw them come from.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { execIn, type Host, makeHost, makeOutside, OUTSIDE, type Teardown } from '../support/host.ts';
import { until } from '../support/until.ts';

export const NETWORK = { v4: '10.66.0.0/16', v6: 'fd66::/32' } as const;
export const ONE = { v4: '10.66.1.2', v6: 'fd66:0:1::2' } as const;
export const TWO = { v4: '10.66.2.2', v6: 'fd66:0:2::2' } as const;
/** The host's own addresses, as the outside sees them. */
export const HOST = { v4: '198.51.100.1', v6: '2001:db8:ff::1' } as const;

const PORT = 7777;

const ECHO = `
for (const type of ['udp4', 'udp6']) {
  const socket = require('node:dgram').createSocket({ type, ipv6Only: type === 'udp6' });
  socket.on('message', (_, from) => socket.send(from.address, from.port, from.address));
  socket.bind(${PORT}, () => console.log(type));
}`;

const ASK = `
const [to, type, seconds] = process.argv.slice(1);
const socket = require('node:dgram').createSocket(type);
const ask = () => socket.send('who am I', ${PORT}, to, () => {});
socket.on('message', (seen) => { console.log(String(seen)); process.exit(0); });
socket.bind(0, () => { ask(); setInterval(ask, 200); });
setTimeout(() => process.exit(3), seconds * 1000);`;

export interface World {
  host: Host;
  one: string;
  two: string;
  outside: string;
  /** The source address that `to` sees of a datagram from a container. Throws when no answer comes back. */
  seenBy(from: string, to: string): Promise<string>;
  /** Whether no answer comes back. */
  isUnheard(from: string, to: string): Promise<boolean>;
}

async function serve(t: Teardown, netns: string): Promise<void> {
  const child: ChildProcess = spawn('nsenter', [`--net=${netns}`, '--', process.execPath, '-e', ECHO], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let heard = '';
  child.stdout?.on('data', (chunk) => {
    heard += chunk;
  });
  t.teardown(async () => {
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await ended;
  });
  await until('the echo server listens', () => heard.includes('udp4') && heard.includes('udp6'));
}

/** Wires a container to its host with a veth pair of its own: `number` is the third part of its addresses. */
async function wire(host: Host, netns: string, number: number): Promise<void> {
  const name = netns.slice('/run/netns/'.length);
  const link = `c${number}`;
  const batch = (where: string, lines: string[]) =>
    execIn(where, 'ip', ['-batch', '-'], { input: `${lines.join('\n')}\n` });
  await batch(host.netns, [
    `link add ${link} type veth peer name eth0 netns ${name}`,
    `addr add 10.66.${number}.1/24 dev ${link}`,
    `addr add fd66:0:${number}::1/64 dev ${link} nodad`,
    `link set ${link} up`,
  ]);
  await batch(netns, [
    `addr add 10.66.${number}.2/24 dev eth0`,
    `addr add fd66:0:${number}::2/64 dev eth0 nodad`,
    'link set eth0 up',
    `route add default via 10.66.${number}.1`,
    `route add default via fd66:0:${number}::1`,
  ]);
}

export async function makeWorld(t: Teardown): Promise<World> {
  const host = await makeHost(t);
  const outside = await makeOutside(t, host);
  const [one, two] = [(await host.container()).netns, (await host.container()).netns];
  for (const key of ['net/ipv4/ip_forward', 'net/ipv6/conf/all/forwarding']) {
    await execIn(host.netns, 'sh', ['-c', `echo 1 > /proc/sys/${key}`]);
  }
  await wire(host, one, 1);
  await wire(host, two, 2);
  await serve(t, two);
  await serve(t, outside);
  const ask = (from: string, to: string, seconds: number, mayFail: boolean) => {
    const type = to.includes(':') ? 'udp6' : 'udp4';
    return execIn(from, process.execPath, ['-e', ASK, to, type, `${seconds}`], { mayFail });
  };
  return {
    host,
    one,
    two,
    outside,
    // Asked again and again: a fresh link's IPv6 takes its time on a busy machine.
    seenBy: async (from, to) => (await ask(from, to, 30, false)).stdout.trim(),
    isUnheard: async (from, to) => (await ask(from, to, 1, true)).status === 3,
  };
}

const GROUPS = ['239.1.1.1', 'ff15::1'] as const;

const LISTEN = `
const [group4, group6] = process.argv.slice(1);
const join = (type, group, on) => {
  const socket = require('node:dgram').createSocket({ type, ipv6Only: type === 'udp6' });
  socket.on('message', (_, from) => console.log(from.address));
  socket.bind(7778, () => { socket.addMembership(group, on); console.log('ready'); });
};
join('udp4', group4, '${OUTSIDE.v4}');
join('udp6', group6, '::%uplink');`;

const SHOUT = `
const [type, from, group, on] = process.argv.slice(1);
const socket = require('node:dgram').createSocket(type);
socket.bind({ address: from, port: 0 }, () => {
  socket.setMulticastInterface(on);
  socket.send('hello', 7778, group, () => socket.close());
});`;

/** The sources that the outside sees of multicast that the host sends from 10.66.9.9 and fd66:0:9::9, IPv4 first. */
export async function hearMulticast(world: World): Promise<(string | undefined)[]> {
  const child = spawn(
    'nsenter',
    [`--net=${world.outside}`, '--', process.execPath, '-e', LISTEN, ...GROUPS],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  let heard = '';
  child.stdout.on('data', (chunk) => {
    heard += chunk;
  });
  try {
    await until('the listener has joined', () => heard.split('ready').length === 3);
    heard = '';
    const shout = (...args: string[]) => execIn(world.host.netns, process.execPath, ['-e', SHOUT, ...args]);
    await until('multicast of both families arrives', async () => {
      await shout('udp4', '10.66.9.9', GROUPS[0], HOST.v4);
      await shout('udp6', 'fd66:0:9::9', GROUPS[1], '::%uplink');
      return heard.includes('.') && heard.includes(':');
    });
  } finally {
    child.kill('SIGKILL');
  }
  const seen = [...new Set(heard.trim().split('\n'))];
  return [seen.find((address) => address.includes('.')), seen.find((address) => address.includes(':'))];
}
