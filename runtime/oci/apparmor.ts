/** Whether the kernel has the AppArmor profile that a bundle names. */
import { readFileSync } from 'node:fs';
import { OciError } from './bundle.ts';

const ENABLED = '/sys/module/apparmor/parameters/enabled';
/** Only where securityfs is mounted: `NAME (MODE)` per line. */
const PROFILES = '/sys/kernel/security/apparmor/profiles';

const text = (file: string): string | undefined => {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
};

/**
 * Told while `create` is asked, not when the command starts; the kernel looks again then. Throws OciError.
 * @param read the text of a file, undefined if there is none
 */
export function assertProfile(profile: string | undefined, read = text): void {
  if (!profile || profile === 'unconfined') return;
  const named = `process.apparmorProfile is ${JSON.stringify(profile)}`;
  if (read(ENABLED)?.trim() !== 'Y') throw new OciError(`${named}, and this kernel runs without AppArmor`);
  const profiles = read(PROFILES);
  // Stacked ones and those of other policy namespaces are the kernel's to find.
  if (profiles === undefined || /^:|\/\/&/.test(profile)) return;
  const loaded = profiles.split('\n').map((line) => line.replace(/ \([a-z]+\)$/, ''));
  if (!loaded.includes(profile))
    throw new OciError(`${named}, and no such profile is loaded: load it with apparmor_parser -r FILE`);
}
