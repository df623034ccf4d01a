/** `weft doctor` */
import { CniError, ErrorCode } from '../../cni/errors.ts';
import { doctorFindings } from '../../inspect/doctor/findings.ts';
import type { Finding } from '../../inspect/finding.ts';
import type { Namespace } from '../../netlink/door.ts';
import { openDoor } from '../../netlink/namespace.ts';
import { UsageError, type WeftContext } from '../context.ts';
import { findingLines } from '../nat/findings.ts';
import { plural } from '../plural.ts';
import { lines } from '../table.ts';
import type { Terminal } from '../terminal.ts';
import { type Fix, fixesFor } from './fix.ts';
import { examine } from './look.ts';

export interface DoctorFlags {
  fix?: boolean;
  yes?: boolean;
  json?: boolean;
  registry?: string;
}

/** Exit status where nothing is lost now, and something is not as it should be. */
const ONLY_WARNINGS = 3;
/** Commands that are printed with a finding. */
const MOST_LINES = 3;

export async function doctor(this: WeftContext, flags: DoctorFlags): Promise<Error | undefined> {
  const { fix, yes, json, registry } = flags;
  if (yes && !fix) throw new UsageError('--yes answers what --fix asks: give --fix, too');
  if (fix && !yes && (json || this.terminal.screen?.() === undefined)) {
    throw new UsageError(
      '--fix asks before it changes anything, and nobody is here to answer: give --yes, too',
    );
  }
  const door = openDoor(() => true);
  const host = await door.open();
  try {
    const options = { door, host, ...(registry === undefined ? {} : { registry }) };
    const looked = await examine(this, options);
    let findings = doctorFindings(looked.view);
    if (!json) await show(this.terminal, findings);
    const fixes = fix ? fixesFor(findings, looked, { ambient: this.ambient, door, host }) : [];
    const failed = await mend(this.terminal, fixes, { yes: yes ?? false, quiet: json ?? false });
    if (failed !== undefined) {
      findings = await again(this, options);
      if (!json) {
        this.terminal.out('\n');
        await show(this.terminal, findings);
      }
    }
    if (json) this.terminal.out(`${JSON.stringify(asJson(findings, fixes, failed ?? []), null, 2)}\n`);
    return this.terminal.lost?.() ? undefined : verdict(this, findings);
  } finally {
    host.close();
  }
}

async function again(
  context: WeftContext,
  options: { door: ReturnType<typeof openDoor>; host: Namespace },
): Promise<Finding[]> {
  const { view } = await examine(context, options);
  return doctorFindings(view);
}

async function show(terminal: Terminal, findings: readonly Finding[]): Promise<void> {
  const found = await findingLines(findings.map(shortened), terminal);
  terminal.out(lines(...found, ...(found.length > 0 ? [''] : []), summary(findings)));
}

/** What takes many commands is shown whole before it is done, and by --json. */
function shortened(finding: Finding): Finding {
  const { safe, mend } = finding;
  return safe && mend.length > MOST_LINES ? { ...finding, mend: ['weft doctor --fix'] } : finding;
}

function summary(findings: readonly Finding[]): string {
  const count = (severity: Finding['severity']) => findings.filter((one) => one.severity === severity).length;
  const parts = (['error', 'warning', 'note'] as const).flatMap((severity) =>
    count(severity) > 0 ? [plural(count(severity), severity)] : [],
  );
  if (parts.length === 0) return 'this host is healthy';
  const isHealthy = count('error') + count('warning') === 0;
  return `${isHealthy ? 'this host is healthy; ' : ''}${parts.join(', ')}`;
}

/** Undefined where nothing was to be done, or it was not wanted; else what failed. */
async function mend(
  terminal: Terminal,
  fixes: readonly Fix[],
  { yes, quiet }: { yes: boolean; quiet: boolean },
): Promise<string[] | undefined> {
  if (fixes.length === 0) return undefined;
  const say = (...text: string[]) => (quiet ? undefined : terminal.out(lines(...text)));
  say('', 'to be done:', ...fixes.flatMap(({ finding }) => finding.mend.map((line) => `  ${line}`)));
  if (!yes && !(await isWanted(terminal))) return undefined;
  const failed: string[] = [];
  for (const { finding, run } of fixes) {
    const problem = await run();
    if (problem !== undefined) failed.push(problem);
    say(problem === undefined ? `done: ${finding.what}` : `failed: ${problem}`);
  }
  return failed;
}

async function isWanted(terminal: Terminal): Promise<boolean> {
  const screen = terminal.screen?.();
  if (screen === undefined) return false;
  terminal.out('do it? [y/N] ');
  const key = await new Promise<string>((resolve) => {
    const stop = screen.onKey((typed) => {
      stop();
      resolve(typed);
    });
  });
  terminal.out('\n');
  return key === 'y' || key === 'Y';
}

function asJson(findings: readonly Finding[], fixes: readonly Fix[], failed: readonly string[]) {
  return {
    healthy: findings.every(({ severity }) => severity === 'note'),
    findings,
    ...(fixes.length > 0 ? { fixed: fixes.map(({ finding }) => finding), failed } : {}),
  };
}

function verdict({ endWith }: WeftContext, findings: readonly Finding[]): Error | undefined {
  const errors = findings.filter(({ severity }) => severity === 'error').length;
  if (errors > 0) {
    return new CniError(ErrorCode.limitedConnectivity, `${plural(errors, 'error')} found: packets are lost`);
  }
  if (findings.some(({ severity }) => severity === 'warning')) endWith(ONLY_WARNINGS);
  return undefined;
}
