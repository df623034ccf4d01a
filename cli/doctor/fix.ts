/** Does what findings say mends them, where nobody can be hurt by it. */
import { detach } from '../../agent/repair/collect.ts';
import { putBack } from '../../agent/repair/put-back.ts';
import type { Ambient } from '../../cni/ambient.ts';
import { onHost, programEnv } from '../../firewall/program.ts';
import type { Finding } from '../../inspect/finding.ts';
import type { Door, Namespace } from '../../netlink/door.ts';
import { readRecord } from '../../plugins/record.ts';
import type { Looked } from './look.ts';

export interface Fix {
  finding: Finding;
  /** Returns what went wrong. */
  run(): Promise<string | undefined>;
}

export interface Hands {
  ambient: Ambient;
  door: Door;
  host: Namespace;
}

/** For the findings that are safe. Nothing is done yet. */
export function fixesFor(findings: readonly Finding[], looked: Looked, hands: Hands): Fix[] {
  return findings
    .filter(({ safe }) => safe)
    .map((finding) => ({ finding, run: withWords(actionFor(finding, looked, hands)) }));
}

type Action = () => Promise<string | undefined>;

/** What ADD and DEL do is done by their code; all else are commands, as they are shown. */
function actionFor(finding: Finding, { view, surroundings }: Looked, { ambient, door, host }: Hands): Action {
  const { code, subject, mend } = finding;
  const isIts = (one: { network: string; containerId: string; ifname: string }) =>
    `${one.network} ${one.containerId} ${one.ifname}` === subject;
  if (code === 'rules-missing' || code === 'attachment-incomplete') {
    const missing = view.lacking.filter(
      (one) => isIts(one) && (one.kind === 'rules') === (code === 'rules-missing'),
    );
    return async () => {
      for (const one of missing) await putBack(one.missing, surroundings);
      return undefined;
    };
  }
  if (code === 'attachment-left-behind') {
    const left = view.remains.find(isIts);
    return async () => {
      const record = left && readRecord(left.entry.file);
      return record && (await detach(record, door));
    };
  }
  return async () => {
    for (const line of mend) {
      const [file, args] = onHost(host, 'sh', ['-c', line]);
      const { status, stderr } = await ambient.run(file, args, { env: programEnv(ambient.env) });
      if (status !== 0) return `${line}: ${stderr.trim().split('\n')[0] || `exit status ${status}`}`;
    }
    return undefined;
  };
}

const withWords =
  (action: Action): Action =>
  async () => {
    try {
      return await action();
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  };
