import { access, appendFile, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { Test } from 'tap';
import { AT_RANDOM, PATIENT, servedOn, startAgent, wayUnderTest } from './agent.ts';
import type { Host } from './host.ts';
import { until } from './until.ts';

/** The reference plugins: the other half of mixed tests, and the types that are missing in the folder under test. */
export const REFERENCE = '/usr/lib/cni';

/** Folder of the executables under test: WEFT_TEST_PLUGINS, else `dist/bin` of this tree. */
export function pluginsUnderTest(): string {
  return resolve(process.env.WEFT_TEST_PLUGINS ?? join(import.meta.dirname, '../../dist/bin'));
}

/**
 * Why a test of the `weft` command cannot run, for tap's `skip`: only when somebody points WEFT_TEST_PLUGINS at plugins
 * that are not ours; in `dist/bin` it has to be there.
 */
export async function weftIsMissing(): Promise<string | false> {
  if (process.env.WEFT_TEST_PLUGINS === undefined) return false;
  const folder = pluginsUnderTest();
  const there = (await readdir(folder)).includes('weft');
  return there ? false : `the plugins under test (${folder}) are not weft's: there is no "weft" command`;
}

/** One execution of a plugin, as recorded by `fillBin(host, {record: true})`. */
export interface Call {
  type: string;
  command: string;
  containerId: string;
  ifname: string;
  netns: string;
  args: string;
}

/**
 * Fills a host's `dirs.bin` with the plugins under test, and with the reference's where a type is missing.
 * With `record`, each type is a script that writes down how it was called, then becomes the plugin: see `calls`.
 * Where WEFT_TEST_WAY says so, an agent serves this host.
 */
export async function fillBin(host: Host, options: { record?: boolean } = {}): Promise<void> {
  const ours = pluginsUnderTest();
  await access(join(ours, 'bridge')).catch(() => {
    throw new Error(`no plugin "bridge" in ${ours}: run "make build", or set WEFT_TEST_PLUGINS`);
  });
  const way = wayUnderTest();
  if (way === 'agent' || way === 'mixed') await startAgent(host, { bin: ours });
  const lines = (name: string) => [
    ...(options.record ? [recording(host, name)] : []),
    ...(way === 'agent' || way === 'mixed' ? [PATIENT] : []),
    ...(way === 'mixed' ? [AT_RANDOM] : []),
  ];
  const done = new Set<string>();
  for (const folder of [ours, REFERENCE]) {
    for (const name of await readdir(folder)) {
      // Executables have no dot in their names; what they load is found beside the file that a link leads to.
      if (done.has(name) || name.includes('.')) continue;
      done.add(name);
      const target = join(host.dirs.bin, name);
      const [first, ...more] = lines(name);
      if (first === undefined) await symlink(join(folder, name), target);
      else await writeFile(target, script([first, ...more], join(folder, name)), { mode: 0o755 });
    }
  }
  if (options.record) await appendFile(log(host), '');
}

/** Every recorded execution on a host, in order; VERSION too. */
export async function calls(host: Host): Promise<Call[]> {
  const lines = (await readFile(log(host), 'utf8')).split('\n').slice(0, -1);
  return lines.map((line) => {
    const [type = '', command = '', containerId = '', ifname = '', netns = '', args = ''] = line.split('|');
    return { type, command, containerId, ifname, netns, args };
  });
}

/**
 * Holds a suite to its way (WEFT_TEST_WAY): what the agent's log says that it has served is, by the agent, each recorded call of a plugin
 * of ours, and no other; mixed, some of them; cold, none. For a host with `fillBin(host, {record: true})`, when all calls are done.
 */
export async function expectWay(t: Test, host: Host): Promise<void> {
  const way = wayUnderTest();
  const ours = new Set(await readdir(pluginsUnderTest()));
  const made = (await calls(host))
    .filter(({ type }) => type !== 'weft' && ours.has(type))
    .map(({ type, command, containerId }) => `${type} ${command} ${containerId}`)
    .sort();
  if (way === 'agent') {
    // The log is written behind the answers.
    await until('the log is whole', async () => (await servedOn(host)).length >= made.length).catch(() => {});
    t.strictSame(await servedOn(host), made, 'the agent served each call');
    return;
  }
  const served = await servedOn(host);
  t.comment(`the agent served ${served.length} of ${made.length} calls`);
  if (way === 'mixed')
    t.ok(
      served.every((one) => made.includes(one)),
      'the agent served calls of ours',
    );
  else t.strictSame(served, [], 'no agent served anything');
}

const log = (host: Host) => join(host.root, 'calls.log');

// One short write with O_APPEND: lines of plugins that run at the same time do not mix.
const recording = (host: Host, type: string) =>
  `echo "${type}|$CNI_COMMAND|$CNI_CONTAINERID|$CNI_IFNAME|$CNI_NETNS|$CNI_ARGS" >>'${log(host)}'`;

const script = (lines: readonly string[], file: string) =>
  ['#!/bin/sh', ...lines, `exec '${file}' "$@"`, ''].join('\n');
