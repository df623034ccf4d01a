/** What a process that is killed in the middle of one call leaves behind: for each call the states that are neither before nor after. */
import { closeSync, constants, openSync, renameSync, writeFileSync, writeSync } from 'node:fs';

const half = (text: unknown) => String(text).slice(0, String(text).length / 2);

function writeOver(file: string, text: string): void {
  const fd = openSync(file, constants.O_WRONLY | constants.O_CREAT);
  writeSync(fd, text, 0);
  closeSync(fd);
}

/** By the call's name, with its arguments. */
export const HALVES: Readonly<Record<string, readonly ((...args: readonly unknown[]) => void)[]>> = {
  writeFileSync: [(file, text, options) => writeFileSync(String(file), half(text), options as object)],
  // The rest is what was there before.
  overwrite: [(file, text) => writeOver(String(file), half(text))],
  claim: [
    (spare, _folder, _names, text) => writeFileSync(String(spare), half(text)),
    (spare, _folder, _names, text) => writeFileSync(String(spare), String(text)),
  ],
  retire: [(file, spare) => renameSync(String(file), String(spare))],
};
