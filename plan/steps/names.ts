import fs from 'node:fs';
import { dirname } from 'node:path';
import { CniError, ErrorCode } from '../../cni/errors.ts';
import { makeFolder } from '../../cni/folder.ts';
import { codeOf } from '../failure.ts';
import type { StepKind } from '../kind.ts';
import type { NamesStep } from '../step.ts';

/** Undefined where there is none, or none that can be read. */
export function readNames(file: string): NamesStep | undefined {
  try {
    const found = JSON.parse(fs.readFileSync(file, 'utf8')) as Partial<NamesStep> | null;
    return found?.kind === 'names' ? (found as NamesStep) : undefined;
  } catch {
    return undefined;
  }
}

function write(step: NamesStep): void {
  try {
    makeFolder(dirname(step.file), 0o700);
    fs.writeFileSync(`${step.file}.new`, JSON.stringify(step), { mode: 0o600 });
    fs.renameSync(`${step.file}.new`, step.file);
  } catch (error) {
    const words = `cannot write the names of the container to ${step.file}: ${codeOf(error) ?? error}`;
    throw new CniError(ErrorCode.io, words, undefined, { cause: error });
  }
}

const drop = async ({ file }: NamesStep) => fs.rmSync(file, { force: true });

/** The agent watches the folder: a file that comes or goes is all that it needs. */
export const names: StepKind<NamesStep> = {
  async apply(step, run) {
    run.onUndo(`forget the names of ${step.containerId}`, () => drop(step));
    write(step);
  },

  async verify(step) {
    const found = readNames(step.file);
    const shown = (one: NamesStep | undefined) =>
      one && `${one.names.join(', ')} at ${one.addresses.join(', ')}`;
    if (shown(found) === shown(step)) return [];
    return [
      { what: `names in ${step.file}`, wanted: shown(step) ?? '', found: shown(found) ?? 'no such file' },
    ];
  },

  remove: drop,

  render: ({ names: list, domain, addresses, servers }) =>
    addresses.map(
      (address) =>
        `# names: ${address.split('/')[0]} ${list.map((name) => (domain ? `${name}.${domain} ${name}` : name)).join(' ')}` +
        ` (the agent answers at ${servers.join(', ')})`,
    ),
};
