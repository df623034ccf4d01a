/** A container's way out without root: pasta or slirp4netns copies packets between its namespace and sockets of the user's. */
import { closeSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CniError, ErrorCode } from '../../cni/errors.ts';
import type { Maker } from './lifecycle.ts';
import type { ContainerSpec } from './spec.ts';

export const USERSPACE_NETWORKS = ['pasta', 'slirp4netns'] as const;

const PID_FILE = 'userspace-network.pid';
/** What it says: it may do so long after this process has gone. */
const WORDS_FILE = 'userspace-network.log';

/** How each is called; both leave the foreground by themselves or are left there. */
function command({ userspaceNetwork, ports }: ContainerSpec, pid: number): [string, string[]] {
  if (userspaceNetwork === 'slirp4netns') {
    return [
      'slirp4netns',
      [
        '--configure',
        '--disable-host-loopback',
        '--userns-path',
        `/proc/${pid}/ns/user`,
        String(pid),
        'tap0',
      ],
    ];
  }
  const mapped = ports.flatMap(({ hostPort, containerPort, protocol }) => [
    protocol === 'udp' ? '-u' : '-t',
    `${hostPort}:${containerPort}`,
  ]);
  const none = (flag: string) => (mapped.includes(flag) ? [] : [flag, 'none']);
  return [
    'pasta',
    ['--foreground', '--quiet', '--config-net', ...mapped, ...none('-t'), ...none('-u'), String(pid)],
  ];
}

/** Milliseconds between two looks, and how many, until the link is there. */
const LOOK = 20;
const LOOKS = 500;

/** Starts the program, and waits until the container has its link. Throws CniError(program). */
export async function connectUserspace(
  maker: Maker,
  spec: ContainerSpec,
  folder: string,
  pid: number,
): Promise<void> {
  const { spawn } = await import('node:child_process');
  const [file, args] = command(spec, pid);
  const words = openSync(join(folder, WORDS_FILE), 'a', 0o600);
  const child = spawn(file, args, {
    detached: true,
    stdio: ['ignore', words, words],
    env: maker.ambient.env,
  });
  closeSync(words);
  let problem: string | undefined;
  child.once('error', ({ message }) => {
    problem = `cannot start ${file}: ${message}; install the package ${file === 'pasta' ? 'passt' : file}`;
  });
  child.once('exit', (status) => {
    problem = `${file} ended with status ${status}: ${wordsOf(folder) || 'it did not say why'}`;
  });
  for (let look = 0; look < LOOKS && problem === undefined; look++) {
    if (child.pid !== undefined && linksOf(pid) > 1) {
      writeFileSync(join(folder, PID_FILE), String(child.pid));
      child.unref();
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK));
  }
  child.kill('SIGKILL');
  throw new CniError(
    ErrorCode.program,
    problem ?? `${file} made no link in the container within ${(LOOK * LOOKS) / 1000} s`,
  );
}

/** On one line, but for its grief about a host without a log. */
function wordsOf(folder: string): string {
  const lines = readFileSync(join(folder, WORDS_FILE), 'utf8').split('\n');
  return lines.filter((line) => line !== '' && !line.endsWith('to syslog')).join('; ');
}

/** proc(5), /proc/PID/net/dev: two lines of heading, then one a link. */
function linksOf(pid: number): number {
  try {
    return readFileSync(`/proc/${pid}/net/dev`, 'utf8').trim().split('\n').length - 2;
  } catch {
    return 0;
  }
}

/** Ends the program of a container. Repeatable. */
export function endUserspace(folder: string): void {
  const file = join(folder, PID_FILE);
  try {
    const pid = Number(readFileSync(file, 'utf8'));
    // Numbers are given again: it must still be one of these.
    const name = readFileSync(`/proc/${pid}/comm`, 'utf8').trim();
    if ((USERSPACE_NETWORKS as readonly string[]).some((one) => name.startsWith(one)))
      process.kill(pid, 'SIGTERM');
  } catch {
    // There is none, or it has ended with the namespace.
  }
  rmSync(file, { force: true });
}
