/** Test files that run inside a machine. */
import type { Machine } from './machine.ts';

interface Assert {
  ok(value: unknown, message: string, extra: object): unknown;
  comment(message: string): void;
}

/** Seconds for one file: without KVM a machine is slow. */
const PATIENCE = 1800;

/** Runs a test file inside a machine; asserts on `t` that it passed, and shows what failed in it. */
export async function runInside(t: Assert, guest: Machine, file: string): Promise<void> {
  const start = Date.now();
  // Not by `tap run`, whose start alone takes minutes without KVM.
  const { status, stdout, stderr } = await guest.exec(`node --import=tsx ${file}`, {
    ...{ timeout: PATIENCE, mayFail: true, env: { TAP_TIMEOUT: String(PATIENCE) } },
  });
  t.comment(`${file}: ${Math.round((Date.now() - start) / 1000)} s`);
  t.ok(status === 0, `${file} passes in the machine`, { message: `${failures(stdout)}\n${stderr}` });
}

/** What TAP says of the assertions that failed. */
function failures(output: string): string {
  const blocks = output.split(/^(?=\s*(?:not )?ok\b)/m).filter((block) => /^\s*not ok\b/.test(block));
  return blocks.length > 0 ? blocks.join('').slice(0, 8000) : output.slice(-4000);
}
