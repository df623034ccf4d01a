/** `weft demo bridge`: the main job, from an empty host to an empty host, with everything shown. */
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CniError, ErrorCode } from '../../cni/errors.ts';
import type { Result } from '../../cni/types.ts';
import { parseResult } from '../../cni/versions.ts';
import { loadNetworkFile } from '../../runtime/conf-dir.ts';
import { type NetworkList, parseNetworkList } from '../../runtime/conflist.ts';
import { knownVersion } from '../../runtime/version.ts';
import type { WeftContext } from '../context.ts';
import { describeResult } from '../net/result.ts';
import { describePlan } from '../plan/command.ts';
import { dryRun } from '../plan/dry-run.ts';
import { openBridgeLab, UPLINK } from './bridge-lab.ts';
import { exampleNetwork } from './example.ts';
import { interrupted } from './interruption.ts';
import type { Lab } from './lab.ts';
import { expectNothingLeft, linksOf, natState } from './leftovers.ts';
import { Progress } from './progress.ts';
import { type Family, familyOf, ping, seenAs, serveOutside } from './traffic.ts';

export interface DemoFlags {
  backend?: 'nftables' | 'iptables';
  keep?: boolean;
}

const CONTAINERS = ['red', 'blue'] as const;
type Container = (typeof CONTAINERS)[number];

/** Everything that the steps of the demonstration share. */
interface Demo {
  lab: Lab;
  progress: Progress;
  list: NetworkList;
  weft: string;
  backend: DemoFlags['backend'];
  /** Every line that was planned so far. */
  planned: Set<string>;
}

export async function demoBridge(
  this: WeftContext,
  flags: DemoFlags,
  file?: string,
): Promise<Error | undefined> {
  const started = this.ambient.now();
  const weft = join(this.home, 'weft');
  if (!existsSync(weft)) {
    throw new CniError(ErrorCode.program, `there is no executable ${weft}: run "make build" first`);
  }
  const list = await demoNetwork(this.home, file, flags.backend);
  const progress = new Progress(this.terminal);
  // From before the first namespace: an interruption meanwhile is seen when the lab stands.
  const interruption = interrupted(this.terminal);
  const lab = await openBridgeLab(this.ambient, this.home).catch((error) => {
    interruption.forget();
    throw error;
  });
  const demo: Demo = { lab, progress, list, weft, backend: flags.backend, planned: new Set() };
  let done = false;
  try {
    await Promise.race([show(demo, flags), interruption.promise]);
    done = true;
  } finally {
    if (flags.keep && done) tellHowToEnter(demo);
    else await takeAway(demo);
    // Only now: who is told twice to end must not leave half of it behind.
    interruption.forget();
  }
  const seconds = ((this.ambient.now() - started) / 1000).toFixed(1);
  if (progress.failed > 0) {
    const { failed, passed } = progress;
    return new CniError(ErrorCode.checkFailed, `${failed} of ${failed + passed} checks failed`);
  }
  progress.title(`All ${progress.passed} checks passed in ${seconds} s`);
  return undefined;
}

/** The configuration that is shown, with the backend asked for. Throws CniError. */
async function demoNetwork(
  home: string,
  file: string | undefined,
  backend: DemoFlags['backend'],
): Promise<NetworkList> {
  const list = file === undefined ? await exampleNetwork(home, 'bridge') : await loadNetworkFile(file);
  knownVersion(list);
  if (backend === undefined) return list;
  const value = JSON.parse(list.json) as { plugins: Record<string, unknown>[] };
  for (const plugin of value.plugins) if (plugin.ipMasq) plugin.ipMasqBackend = backend;
  return { ...list, ...(await parseNetworkList(JSON.stringify(value), list.file ?? 'the configuration')) };
}

async function show(demo: Demo, { keep }: DemoFlags): Promise<void> {
  const { lab, progress, list } = demo;
  progress.line(`Simulated hosts in ${lab.folder}: the network of this machine is not touched`);
  progress.quote([
    'red  ─┐',
    `      ├─ bridge ─ host ${UPLINK.host.v4} ─── ${UPLINK.outside.v4} outside`,
    `blue ─┘            ${UPLINK.host.v6}     ${UPLINK.outside.v6}`,
  ]);
  writeFileSync(join(lab.folders('host').conf, `10-${list.name}.conflist`), list.json);
  progress.title(`The network ${list.name} (${list.file ?? ''})`);
  progress.quote(readable(list.json));

  const before = (await linksOf(lab, 'host')).others;
  const red = await attach(demo, 'red', []);
  const blue = await attach(demo, 'blue', addressesOf(red));
  await showTraffic(demo, { red, blue });
  await showChecks(demo);
  if (keep) return;
  await detach(demo);
  await expectNothingLeft(lab, progress, before, [...addressesOf(red), ...addressesOf(blue)]);
}

/** JSON as it was laid out, unless it was not. */
function readable(json: string): string[] {
  const text = json.trim();
  return (text.includes('\n') ? text : JSON.stringify(JSON.parse(text), null, 2)).split('\n');
}

async function attach(demo: Demo, name: Container, taken: readonly string[]): Promise<Result> {
  const { lab, progress, list, backend } = demo;
  const netns = lab.netns(name);
  progress.title(`Plan for container ${name} (whose namespace is ${netns})`);
  // A name where the path would make the lines hard to read.
  const planned = await dryRun(
    list,
    { containerId: name, ifname: 'eth0', netns: name, args: [], capabilityArgs: {} },
    { taken, hostId: 'weft-demo', ...(backend && { backend }) },
  );
  const script = describePlan(planned, list.plugins.length).slice(1);
  const isNew = (line: string): boolean => line === '' || line.startsWith('#') || !demo.planned.has(line);
  const known = script.filter((line) => !isNew(line)).length;
  progress.quote([
    ...(known > 0
      ? [`# ${known} lines left out that are as before: bridge, gateways, forwarding, constant NAT rules`]
      : []),
    ...script.filter(isNew),
  ]);
  for (const line of script) demo.planned.add(line);

  progress.title(`ADD ${name}`);
  const stdout = await lab.must('host', demo.weft, 'net', 'add', list.name, netns, '--id', name, '--json');
  const raw = JSON.parse(stdout) as Record<string, unknown>;
  const version = knownVersion(list);
  const result = parseResult(raw, version, { name: 'result', code: ErrorCode.decoding });
  progress.quote(describeResult(raw, version).map((line) => line.slice(2)));
  const foreseen = planned.at(-1)?.result;
  const wanted =
    foreseen === undefined ? [] : (foreseen.ips as { address: string }[]).map((ip) => ip.address);
  const got = result.ips.map((ip) => ip.address);
  progress.check(
    got.length > 0 && got.join() === wanted.join(),
    `${name} has ${got.join(' and ')}`,
    'as planned',
  );
  return result;
}

function addressesOf(result: Result): string[] {
  return result.ips.map(({ address }) => address.replace(/\/\d+$/, ''));
}

async function showTraffic(demo: Demo, results: Record<Container, Result>): Promise<void> {
  const { lab, progress, list } = demo;
  progress.title('Packets');
  for (const address of addressesOf(results.blue)) await ping(lab, progress, 'red', address, 'blue');
  for (const address of addressesOf(results.red)) await ping(lab, progress, 'blue', address, 'red');
  for (const { gateway } of results.red.ips) {
    if (gateway) await ping(lab, progress, 'red', gateway, 'host');
  }
  if (!list.plugins.some(({ ipMasq }) => ipMasq === true)) return;
  const families = new Set<Family>(addressesOf(results.red).map(familyOf));
  await serveOutside(lab);
  for (const name of CONTAINERS) {
    for (const family of families) {
      await ping(lab, progress, name, UPLINK.outside[family], 'outside');
      await seenAs(lab, progress, name, family);
    }
  }
  progress.title('NAT state of the host');
  progress.quote(await natState(lab, 'host'));
}

async function showChecks({ lab, progress, list, weft }: Demo): Promise<void> {
  progress.title('CHECK');
  for (const name of CONTAINERS) {
    const args = ['net', 'check', list.name, lab.netns(name), '--id', name];
    const { status, stdout, stderr } = await lab.run('host', weft, args);
    progress.check(
      status === 0,
      status === 0 ? stdout.trim() : `CHECK ${name}`,
      status === 0 ? '' : stderr.trim(),
    );
  }
}

async function detach({ lab, progress, list, weft }: Demo): Promise<void> {
  progress.title('DEL');
  for (const name of CONTAINERS) {
    const args = ['net', 'del', list.name, lab.netns(name), '--id', name];
    const { status, stdout, stderr } = await lab.run('host', weft, args);
    progress.check(
      status === 0,
      status === 0 ? stdout.trim() : `DEL ${name}`,
      status === 0 ? '' : stderr.trim(),
    );
  }
  progress.title('What is left');
}

async function takeAway({ lab, progress }: Demo): Promise<void> {
  await lab.close();
  progress.check(!existsSync(lab.folder), 'simulated hosts are taken away', lab.folder);
}

function tellHowToEnter({ lab, progress, weft }: Demo): void {
  lab.keep();
  progress.title('The simulated hosts are left standing (--keep)');
  progress.quote([
    `source ${lab.folder}/environment       # weft's folders of the simulated host`,
    `nsenter --net=${lab.netns('host')} bash       # the host; ${weft} net list`,
    `nsenter --net=${lab.netns('red')} bash        # a container`,
    `umount ${lab.folder}/ns/* && rm -r ${lab.folder}       # take everything away`,
  ]);
}
