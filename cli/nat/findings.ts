/** What looks wrong, for people. */
import { CniError, ErrorCode } from '../../cni/errors.ts';
import type { Finding } from '../../inspect/finding.ts';
import { plural } from '../plural.ts';
import { printable } from '../printable.ts';
import type { Terminal } from '../terminal.ts';

const COLOURS = { error: 'red', warning: 'yellow', note: 'cyan' } as const;

/** Findings as lines, the gravest first; ends without an empty line. */
export async function findingLines(findings: readonly Finding[], { color }: Terminal): Promise<string[]> {
  if (findings.length === 0) return [];
  const { createColors } = (await import('picocolors')).default;
  const colours = createColors(color);
  return findings.flatMap(({ severity, code, what, why, mend }) => [
    `${colours[COLOURS[severity]](severity)} ${colours.bold(printable(what))} ${colours.dim(`[${code}]`)}`,
    `    ${printable(why)}`,
    ...mend.map((command) => `    ${colours.dim('mend:')} ${printable(command)}`),
  ]);
}

/** For the exit status: packets are lost now. */
export function verdict(findings: readonly Finding[]): CniError | undefined {
  const errors = findings.filter(({ severity }) => severity === 'error').length;
  return errors === 0
    ? undefined
    : new CniError(ErrorCode.limitedConnectivity, `${plural(errors, 'error')} found: packets are lost`);
}
