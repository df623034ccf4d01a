/** A host as weft makes it, with two containers and published ports; what `weft doctor` and `weft trace` say of it; ways to break it. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import { examine, type Looked } from '../../../cli/doctor/look.ts';
import { parseDestination } from '../../../cli/trace/parse.ts';
import { questionFor } from '../../../cli/trace/question.ts';
import { doctorFindings } from '../../../inspect/doctor/findings.ts';
import type { Finding } from '../../../inspect/finding.ts';
import { openDoor } from '../../../netlink/namespace.ts';
import { realAmbient } from '../../../runtime/ambient.ts';
import { type Host, makeHost, makeOutside } from '../../support/host.ts';
import { pluginsUnderTest } from '../../support/plugins.ts';

export const WEFT = join(pluginsUnderTest(), 'weft');

export interface Lab {
  host: Host;
  outside: string;
  /** Namespaces. */
  web: string;
  db: string;
}

/** A bridge network with masquerade and published ports, by nftables; with `six` of both families. */
export async function makeLab(t: Test, mtu = 1500, six = false): Promise<Lab> {
  const host = await makeHost(t);
  const outside = await makeOutside(t, host);
  const masquerade = { ipMasq: true, ipMasqBackend: 'nftables' };
  conflist(host, 'podnet', [
    {
      ...{ type: 'bridge', bridge: 'pods0', isDefaultGateway: true, mtu, ...masquerade },
      ipam: {
        type: 'host-local',
        ranges: [[{ subnet: '10.88.0.0/24' }], ...(six ? [[{ subnet: 'fd00:88::/64' }]] : [])],
      },
    },
    { type: 'portmap', backend: 'nftables', capabilities: { portMappings: true } },
  ]);
  const [web, db] = [await host.container(), await host.container()];
  const ports = [
    { hostPort: 8080, containerPort: 80, protocol: 'tcp' },
    { hostPort: 5353, containerPort: 53, protocol: 'udp' },
  ];
  await net(
    host,
    'add',
    'podnet',
    web.netns,
    '--id',
    'web',
    '--cap',
    `portMappings=${JSON.stringify(ports)}`,
  );
  await net(host, 'add', 'podnet', db.netns, '--id', 'db');
  return { host, outside, web: web.netns, db: db.netns };
}

export function conflist(host: Host, name: string, plugins: object[]): void {
  const text = JSON.stringify({ cniVersion: '1.0.0', name, plugins });
  writeFileSync(join(host.dirs.conf, `10-${name}.conflist`), text);
}

export const net = (host: Host, ...args: string[]) => host.exec(WEFT, ['net', ...args]);

/**
 * What `weft doctor` reads on this host, and what it says of it.
 * @param settings what no simulated host can have, and is put into what was read: sysctls that are the machine's
 */
export async function diagnose(
  host: Host,
  settings: Readonly<Record<string, number>> = {},
): Promise<{ looked: Looked; findings: Finding[] }> {
  const door = openDoor();
  const namespace = await door.open(host.netns);
  try {
    const context = { ambient: realAmbient({ ...host.env }), home: pluginsUnderTest() };
    const looked = await examine(context, { door, host: namespace });
    const { sysctls } = looked.view.nat.host;
    for (const [name, value] of Object.entries(settings)) (sysctls as Map<string, number>).set(name, value);
    return { looked, findings: doctorFindings(looked.view) };
  } finally {
    namespace.close();
  }
}

/** Everything that `weft trace FROM TO --predict-only` says, from the same look. */
async function traced(
  { gathered }: Looked,
  { from, to, says: _, ...more }: NonNullable<Broken['trace']>,
): Promise<string[]> {
  const question = await questionFor(gathered, { from, to: parseDestination(to), ...more });
  const { there, back } = await gathered.predict(question);
  return [there, back].flatMap((path) =>
    path ? [path.why, ...path.notes, ...path.assumptions, ...path.hops.map((hop) => hop.words)] : [],
  );
}

/** `code subject` of everything but notes. */
export function named(findings: readonly Finding[]): string[] {
  return findings.filter(({ severity }) => severity !== 'note').map(({ code, what }) => `${code}: ${what}`);
}

/** One way to break a host. */
export interface Broken {
  name: string;
  /** Shell, on the host; `web` and `db` are namespaces, `$WEB` and `$DB` the host's ends of their links. */
  break: string;
  settings?: Readonly<Record<string, number>>;
  mend: string;
  /** What `weft doctor` has to name: a finding's code and words of it. */
  code: string;
  what: RegExp;
  severity?: Finding['severity'];
  /** What `weft trace` is asked, and the words by which it ends, or that it notes. Absent: packets are not lost by it. */
  trace?: { from: string; to: string; size?: number; sourcePort?: number; family?: 4 | 6; says: RegExp };
}

/** Breaks the host, looks, mends it, one after the other; it has to be healthy before and after. */
export async function holdTo(
  t: Test,
  lab: Lab,
  cases: readonly Broken[],
  env: Readonly<Record<string, string>> = {},
): Promise<void> {
  const { host } = lab;
  const healthy = await diagnose(host);
  t.same(named(healthy.findings), [], 'a healthy host has no findings');
  const run = (script: string) =>
    host.exec('sh', ['-ec', script], { env: { ...scriptEnv(healthy.looked, lab), ...env } });
  for (const one of cases) {
    await run(one.break);
    try {
      const { looked, findings } = await diagnose(host, one.settings);
      const found = findings.find(({ code, what }) => code === one.code && one.what.test(what));
      t.ok(found, `${one.name}: weft doctor names it: ${named(findings).join(' | ')}`);
      t.equal(found?.severity ?? 'none', one.severity ?? 'error', `${one.name}: gravity`);
      if (one.trace) {
        const { says, from } = one.trace;
        const words = await traced(looked, { ...one.trace, from: from === 'web' ? lab.web : from });
        t.ok(
          words.some((word) => says.test(word)),
          `${one.name}: weft trace names it: ${words.join(' | ')}`,
        );
      }
    } finally {
      await run(one.mend);
    }
  }
  t.same(named((await diagnose(host)).findings), [], 'mended, it is healthy again');
}

/** The host's ends of the containers' links, and all that breaking needs to know. */
function scriptEnv({ view }: Looked, { host, web, db, outside }: Lab): Record<string, string> {
  const endOf = (id: string) =>
    view.nat.host.links.find(({ alias }) => alias?.includes(` ${id} `))?.name ?? 'missing';
  const macOf = (netns: string) =>
    view.nat.near.find(({ path }) => path === netns)?.links.find(({ name }) => name === 'eth0')?.mac ??
    'missing';
  const name = (netns: string) => netns.slice('/run/netns/'.length);
  return {
    ...{ web: name(web), db: name(db), outside: name(outside), webnet: web, dbnet: db },
    ...{
      WEB: endOf('web'),
      DB: endOf('db'),
      DATA: host.dirs.data,
      CONF: host.dirs.conf,
      MEND: `${WEFT} doctor --fix --yes`,
    },
    ...{ WEBMAC: macOf(web), DBMAC: macOf(db) },
  };
}
