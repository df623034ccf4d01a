/** Namespaces for tests, made and looked at by iproute2 and friends: another program's view, not ours. */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import type { Namespace, NetlinkError, Op } from '../../netlink/door.ts';
import { openDoor } from '../../netlink/namespace.ts';

interface Test {
  teardown(act: () => unknown): void;
}

export interface TestNamespace {
  name: string;
  path: string;
  ns: Namespace;
  /** Runs a program inside; its output. */
  run(program: string, ...args: string[]): string;
  /** The same, parsed as JSON. */
  json(program: string, ...args: string[]): Record<string, unknown>[];
  /** Feeds a file to `nft -f`. */
  nft(rules: string): void;
}

/** A network namespace of this test's own, removed when it ends. */
export async function namespaceFor(t: Test): Promise<TestNamespace> {
  const name = `weft-t-${randomBytes(5).toString('hex')}`;
  const path = `/run/netns/${name}`;
  execFileSync('ip', ['netns', 'add', name]);
  t.teardown(() => execFileSync('ip', ['netns', 'del', name]));
  const ns = await openDoor().open(path);
  t.teardown(() => ns.close());
  // Under scripts/asan.sh, other people's programs are not what is looked at.
  const env = { ...process.env, LD_PRELOAD: '' };
  const run = (program: string, ...args: string[]) =>
    execFileSync('ip', ['netns', 'exec', name, program, ...args], {
      encoding: 'utf8',
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  return {
    name,
    path,
    ns,
    run,
    json: (program, ...args) => JSON.parse(run(program, ...args) || '[]'),
    nft: (rules) => execFileSync('ip', ['netns', 'exec', name, 'nft', '-f', '-'], { input: rules, env }),
  };
}

/** Sends one request and returns its value; throws what it was refused with. */
export async function ask<T>(ns: Namespace, op: Op<T>): Promise<T> {
  const [reply] = await ns.send(op);
  if (!reply.ok) throw reply.error;
  return reply.value as T;
}

/** The error a request is refused with. */
export async function refused(ns: Namespace, op: Op): Promise<NetlinkError> {
  try {
    await ns.send(op);
  } catch (error) {
    return error as NetlinkError;
  }
  throw new Error(`${op.what}: want a refusal, found none`);
}
