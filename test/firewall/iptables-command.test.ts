import t from 'tap';
import { CniError, ErrorCode } from '../../cni/errors.ts';
import { type Execute, iptablesCommand } from '../../firewall/iptables-command.ts';

interface Call {
  line: string;
  input: string | undefined;
  env: Record<string, string | undefined>;
}

/** A program that notes how it was called and answers as told. */
function fake(answer: { exitCode?: number; code?: string; stdout?: string; stderr?: string }) {
  const calls: Call[] = [];
  const execute: Execute = async (file, args, { input, env }) => {
    calls.push({ line: [file, ...args].join(' '), input, env });
    return {
      exitCode: answer.exitCode,
      code: answer.code,
      stdout: answer.stdout ?? '',
      stderr: answer.stderr ?? '',
    };
  };
  return { calls, execute };
}

async function failure(work: Promise<unknown>): Promise<CniError> {
  try {
    await work;
  } catch (error) {
    if (error instanceof CniError) return error;
    throw error;
  }
  throw new Error('it did not fail');
}

t.test('a restore is one run that waits for the lock and names the table', async (t) => {
  const { calls, execute } = fake({ exitCode: 0 });
  const command = iptablesCommand({ env: { PATH: '/sbin' }, execute, wait: 7 });
  await command.restore(4, 'nat', [':WEFT-a - [0:0]', '-A WEFT-a -j RETURN']);
  await command.restore(6, 'nat', ['-F WEFT-a']);
  t.strictSame(calls, [
    {
      line: 'iptables-restore --noflush --wait 7',
      input: '*nat\n:WEFT-a - [0:0]\n-A WEFT-a -j RETURN\nCOMMIT\n',
      env: { PATH: '/sbin' },
    },
    {
      line: 'ip6tables-restore --noflush --wait 7',
      input: '*nat\n-F WEFT-a\nCOMMIT\n',
      env: { PATH: '/sbin' },
    },
  ]);
});

t.test('the variant and the namespace are part of the command line', async (t) => {
  const { calls, execute } = fake({ exitCode: 0, stdout: '*nat\nCOMMIT\n' });
  const command = iptablesCommand({
    env: {},
    execute,
    variant: 'legacy',
    wrap: (file, args) => ['nsenter', ['--net=/run/netns/x', '--', file, ...args]],
  });
  t.equal(await command.save(6, 'nat'), '*nat\nCOMMIT\n');
  t.equal(calls[0]?.line, 'nsenter --net=/run/netns/x -- ip6tables-legacy-save -t nat');
});

t.test('the variant is read from the version', async (t) => {
  const version = (stdout: string) =>
    iptablesCommand({ env: {}, execute: fake({ exitCode: 0, stdout }).execute }).version(4);
  t.strictSame(await version('iptables v1.8.9 (nf_tables)\n'), { version: '1.8.9', variant: 'nft' });
  t.strictSame(await version('iptables v1.8.9 (legacy)\n'), { version: '1.8.9', variant: 'legacy' });
  t.strictSame(await version('iptables v1.6.1\n'), { version: '1.6.1', variant: 'legacy' });
  t.equal((await failure(version('hello'))).code, ErrorCode.program);
});

t.test('every kind of failure is told in its own words', async (t) => {
  const restore = (answer: Parameters<typeof fake>[0]) =>
    failure(iptablesCommand({ env: {}, execute: fake(answer).execute, wait: 5 }).restore(4, 'nat', ['-F']));
  const cases = [
    [{ code: 'ENOENT' }, ErrorCode.program, /^iptables-restore is not installed/],
    [
      { exitCode: 127, stderr: 'nsenter: failed to execute iptables-restore: No such file or directory' },
      ErrorCode.program,
      /^iptables-restore is not installed/,
    ],
    [
      { exitCode: 4, stderr: 'Another app is currently holding the xtables lock; still -9s 0us time ahead' },
      ErrorCode.tryAgain,
      /held the xtables lock for 5 s/,
    ],
    [
      {
        exitCode: 2,
        stderr: "iptables-restore v1.8.9 (legacy): Couldn't load match `set':No such file or directory",
      },
      ErrorCode.noKernelSupport,
      /has no match set/,
    ],
    [
      {
        exitCode: 3,
        stderr:
          "iptables-restore v1.8.9 (legacy): iptables-restore: unable to initialize table 'nat': Table does not exist",
      },
      ErrorCode.noKernelSupport,
      /kernel has no such table/,
    ],
    [{ exitCode: 4, stderr: 'Fatal: Permission denied (you must be root)' }, ErrorCode.io, /needs root/],
    [
      { exitCode: 1, stderr: 'iptables-restore: line 3 failed: No chain/target/match by that name.\nmore' },
      ErrorCode.program,
      /failed \(exit status 1\): iptables-restore: line 3 failed: No chain\/target\/match by that name\.$/,
    ],
    [{ code: 'ETIMEDOUT' }, ErrorCode.program, /failed \(ETIMEDOUT\)/],
  ] as const;
  for (const [answer, code, message] of cases) {
    const error = await restore(answer);
    t.equal(error.code, code, error.message);
    t.match(error.message, message);
  }
});

t.test('the real execa runs a real program', async (t) => {
  const error = await failure(
    iptablesCommand({ env: { PATH: '/nowhere' } }).restore(4, 'nat', ['-F WEFT-nothing-of-the-kind']),
  );
  t.match(error.message, /iptables-restore is not installed/);
  const wrapped = iptablesCommand({
    env: { PATH: '/usr/bin:/bin' },
    wrap: (file, args) => ['echo', [file, ...args]],
  });
  t.equal(await wrapped.save(4, 'nat'), 'iptables-save -t nat');
});
