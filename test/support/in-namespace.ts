/** Runs a suite in a network namespace of its own, which ends with it: for tests whose own process speaks to servers. */
import { fileURLToPath } from 'node:url';
import type { Test } from 'tap';

/** `suite`: URL of a module that is a tap test. Loopback there is up, has 127.0.0.0/8 and ::1, and nothing else is there. */
export async function inNamespace(t: Test, suite: URL): Promise<void> {
  const file = fileURLToPath(suite);
  const script = 'ip link set lo up && exec "$@"';
  const node = [process.execPath, '--import=tsx', file];
  await t.spawn(
    'unshare',
    ['--net', '--', 'sh', '-c', script, 'sh', ...node],
    { buffered: true },
    file.split('/').at(-1) ?? file,
  );
}
