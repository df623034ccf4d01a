/** Names of users and groups as the files of an image say (config.md, "User"): `user`, `uid`, `user:group`, `uid:gid`. */
import { readFileSync } from 'node:fs';
import { CniError, ErrorCode } from '../../cni/errors.ts';
import type { User } from '../container/spec.ts';
import { insideRoot } from './inside-root.ts';

export interface Account extends User {
  /** HOME. */
  home: string;
}

const MOST_ID = 2 ** 32 - 2;

function rows(roots: readonly string[], file: string): string[][] {
  for (const root of roots) {
    try {
      // An image may make it a link to anywhere: it is looked up inside.
      const text = readFileSync(insideRoot(root, ['etc', file]), 'utf8');
      return text.split('\n').map((line) => line.split(':'));
    } catch {
      // A layer below may have it.
    }
  }
  return [];
}

const idOf = (text: string): number | undefined => {
  const id = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  return id <= MOST_ID ? id : undefined;
};

/**
 * @param roots folders of the root file system, the uppermost first
 * Throws CniError(invalidConfig) for a name that they do not have.
 */
export function accountOf(asked: string, roots: readonly string[]): Account {
  const [userName = '', groupName, ...more] = asked.split(':');
  if (more.length > 0)
    throw new CniError(
      ErrorCode.invalidConfig,
      `found the user ${JSON.stringify(asked)}, wanted USER[:GROUP]`,
    );
  const users = rows(roots, 'passwd');
  const groups = rows(roots, 'group');
  const name = userName === '' ? '0' : userName;
  const found = users.find((row) => row[0] === name) ?? users.find((row) => row[2] === name);
  const uid = found ? Number(found[2]) : idOf(name);
  if (uid === undefined) throw unknown('user', name, '/etc/passwd');
  const primary = found ? Number(found[3]) : 0;
  const gid = groupName === undefined ? primary : groupId(groupName, groups);
  const member = found?.[0];
  const supplementary =
    groupName === undefined && member !== undefined
      ? groups.filter((row) => row[3]?.split(',').includes(member)).map((row) => Number(row[2]))
      : [];
  return { uid, gid, groups: supplementary, home: found?.[5] || '/' };
}

function groupId(name: string, groups: readonly string[][]): number {
  const found = groups.find((row) => row[0] === name);
  const gid = found ? Number(found[2]) : idOf(name);
  if (gid === undefined) throw unknown('group', name, '/etc/group');
  return gid;
}

function unknown(kind: string, name: string, file: string): CniError {
  return new CniError(
    ErrorCode.invalidConfig,
    `there is no ${kind} ${JSON.stringify(name)} in ${file} of the root file system: give one of its names, or a number`,
  );
}
