/**
 * iptables and ip6tables as programs: a wrapper around execa, which is loaded with the first program that is run
 * (12 ms of start-up that a steady ADD does not pay). Failures come back as CniErrors that name the program, the table and what to do.
 */
import { CniError, ErrorCode } from '../cni/errors.ts';
import type { IpFamily } from './address.ts';

/** What this wrapper needs of execa, so that tests can put a function in its place. */
export type Execute = (
  file: string,
  args: readonly string[],
  options: { input?: string; env: Record<string, string | undefined> },
) => Promise<{ exitCode?: number | undefined; code?: string | undefined; stdout: string; stderr: string }>;

export type IptablesVariant = 'nft' | 'legacy';

export interface IptablesCommandOptions {
  env: Record<string, string | undefined>;
  /** Puts a command line into the host's network namespace. */
  wrap?: (file: string, args: readonly string[]) => [string, string[]];
  execute?: Execute;
  /** Seconds to wait for the xtables lock of other programs. */
  wait?: number;
  /** `iptables-legacy` and the like instead of what the host's administrator chose as `iptables`. */
  variant?: IptablesVariant;
}

export interface IptablesCommand {
  /** The rules of one table, as iptables-save prints them, counters left out. */
  save(family: IpFamily, table: string): Promise<string>;
  /** Applies all lines to one table as one transaction of one iptables-restore; rules not named stay. */
  restore(family: IpFamily, table: string, lines: readonly string[]): Promise<void>;
  /** Version and variant of the installed iptables. */
  version(family: IpFamily): Promise<{ version: string; variant: IptablesVariant }>;
}

/** Makes the wrapper; starts nothing. */
export function iptablesCommand(options: IptablesCommandOptions): IptablesCommand {
  const wait = String(options.wait ?? 10);
  const run = async (file: string, args: readonly string[], input?: string): Promise<string> => {
    const execute = options.execute ?? (await execaExecute());
    const [program, words] = options.wrap?.(file, args) ?? [file, [...args]];
    const outcome = await execute(program, words, {
      env: options.env,
      ...(input === undefined ? {} : { input }),
    });
    if (outcome.exitCode === 0) return outcome.stdout;
    throw commandError(file, wait, outcome);
  };
  const name = (family: IpFamily, tool: '' | '-save' | '-restore'): string =>
    `${family === 4 ? 'iptables' : 'ip6tables'}${options.variant ? `-${options.variant}` : ''}${tool}`;
  return {
    save: (family, table) => run(name(family, '-save'), ['-t', table]),
    async restore(family, table, lines) {
      const input = `*${table}\n${lines.join('\n')}\nCOMMIT\n`;
      await run(name(family, '-restore'), ['--noflush', '--wait', wait], input);
    },
    async version(family) {
      const program = name(family, '');
      const printed = await run(program, ['--version']);
      const [, version, variant] = /v(\d[\w.]*)(?:\s+\((\w+)\))?/.exec(printed) ?? [];
      if (version === undefined) {
        throw new CniError(ErrorCode.program, `cannot read the version of ${program}: it printed ${printed}`);
      }
      // Before 1.8 there was only the legacy variant, and it did not say so.
      return { version, variant: variant === 'nf_tables' ? 'nft' : 'legacy' };
    },
  };
}

async function execaExecute(): Promise<Execute> {
  const { execa } = await import('execa');
  return (file, args, { input, env }) =>
    execa(file, args, { ...(input === undefined ? {} : { input }), env, extendEnv: false, reject: false });
}

interface Failure {
  exitCode?: number | undefined;
  code?: string | undefined;
  stderr: string;
}

/** xtables' exit statuses (xtables.h): 1 other, 2 parameter, 3 version, 4 resource (the lock, or EAGAIN of the kernel). */
function commandError(program: string, wait: string, failure: Failure): CniError {
  const words = failure.stderr.trim();
  // nsenter answers 127 for a program that is not there.
  if (failure.code === 'ENOENT' || (failure.exitCode === 127 && /No such file/.test(words))) {
    return new CniError(
      ErrorCode.program,
      `${program} is not installed (or not on PATH): install iptables, or set the nftables backend`,
      words || undefined,
    );
  }
  if (failure.exitCode === 4 && /xtables lock|resource|try again/i.test(words)) {
    return new CniError(
      ErrorCode.tryAgain,
      `${program}: another program held the xtables lock for ${wait} s`,
      words,
    );
  }
  const extension = /Couldn't load (match|target) [`'"]([^`'"]+)/.exec(words);
  if (extension) {
    return new CniError(
      ErrorCode.noKernelSupport,
      `${program} has no ${extension[1]} ${extension[2]}: install the extension or use the nftables backend`,
      words,
    );
  }
  if (/Table does not exist|can't initialize i?p?6?tables table/.test(words)) {
    return new CniError(
      ErrorCode.noKernelSupport,
      `${program}: this kernel has no such table: load the module or use the nftables backend`,
      words,
    );
  }
  if (/Permission denied|must be root|Operation not permitted/.test(words)) {
    return new CniError(ErrorCode.io, `${program} needs root (CAP_NET_ADMIN)`, words);
  }
  const ended =
    failure.exitCode === undefined
      ? (failure.code ?? 'was ended by a signal')
      : `exit status ${failure.exitCode}`;
  return new CniError(
    ErrorCode.program,
    `${program} failed (${ended})${words ? `: ${words.split('\n')[0]}` : ''}`,
    words || undefined,
  );
}
