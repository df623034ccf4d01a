/**
 * firewalld's zones (org.fedoraproject.FirewallD1.zone in its D-Bus manual), by one short-lived client per question: busctl comes with
 * systemd, dbus-send with D-Bus; 4 ms each, where firewall-cmd takes 140. A D-Bus library would be in every plugin's start, for the few
 * hosts that have firewalld.
 *
 * What is bound here is bound until firewalld reloads: a container does not outlive a reboot, so nothing of it is permanent.
 */
import type { Ambient, RunResult } from '../cni/ambient.ts';
import { CniError, ErrorCode } from '../cni/errors.ts';
import type { Source } from './address.ts';
import { findProgram, programEnv } from './program.ts';

const NAME = 'org.fedoraproject.FirewallD1';
const OBJECT = '/org/fedoraproject/FirewallD1';
const INTERFACE = `${NAME}.zone`;
/** Milliseconds; a reload that goes on meanwhile is waited for. */
const PATIENCE = 20_000;

export interface Firewalld {
  /** Whether it answers on the system bus; it is not started for that. */
  runs(): Promise<boolean>;
  /** Makes an address a source of the zone; false where firewalld does not run. Throws CniError(program). */
  bind(zone: string, address: Source): Promise<boolean>;
  /**
   * Takes an address out of the zone, where it is a source of that; with `elsewhere`, out of whatever zone it is in. Nothing to do is no
   * error. Throws CniError(program).
   */
  release(address: Source, from: { zone: string | undefined; elsewhere: boolean }): Promise<void>;
  /** What is bound to a zone now, as firewalld prints it; undefined where it does not run. Throws CniError(program). */
  sources(zone: string): Promise<string[] | undefined>;
}

/** The spelling of an address as a zone's source. */
export const sourceWords = ({ family, address }: Source) => `${address}/${family === 4 ? 32 : 128}`;

/** Starts nothing; `ambient` is used by the methods. */
export function firewalld(ambient: Ambient): Firewalld {
  const zoneOf = async (source: string) => strings(await call(ambient, 'getZoneOfSource', source))?.[0];
  return {
    runs: async () => (await call(ambient, 'getZones')) !== undefined,
    async bind(zone, address) {
      const source = sourceWords(address);
      const answer = await call(ambient, 'addSource', zone, source);
      if (answer === undefined) return false;
      if (answer.status === 0 || answer.stderr.includes('ZONE_ALREADY_SET')) return true;
      const other = answer.stderr.includes('ZONE_CONFLICT') ? await zoneOf(source) : undefined;
      const reason = other
        ? `it is a source of zone ${other}: remove it there (firewall-cmd --zone=${other} --remove-source=${source})`
        : reasonOf(answer);
      throw new CniError(
        ErrorCode.program,
        `cannot make ${source} a source of firewalld's zone ${zone}: ${reason}`,
      );
    },
    async release(address, { zone, elsewhere }) {
      const source = sourceWords(address);
      if (zone !== undefined && (await removed(ambient, zone, source))) return;
      const other = elsewhere ? await zoneOf(source) : undefined;
      if (other) await removed(ambient, other, source);
    },
    async sources(zone) {
      const answer = await call(ambient, 'getSources', zone);
      if (answer === undefined) return undefined;
      const found = strings(answer);
      if (found) return found;
      throw new CniError(
        ErrorCode.program,
        `cannot read the sources of firewalld's zone ${zone}: ${reasonOf(answer)}`,
      );
    },
  };
}

/** Whether there is nothing left to do: true as well where no firewalld runs, whose zones are empty then. */
async function removed(ambient: Ambient, zone: string, source: string): Promise<boolean> {
  const answer = await call(ambient, 'removeSource', zone, source);
  if (answer === undefined || answer.status === 0 || answer.stderr.includes('UNKNOWN_SOURCE')) return true;
  if (/ZONE_CONFLICT|INVALID_ZONE/.test(answer.stderr)) return false;
  throw new CniError(
    ErrorCode.program,
    `cannot take ${source} out of firewalld's zone ${zone}: ${reasonOf(answer)}`,
  );
}

/** Undefined where no firewalld answers, or nobody could ask it. */
async function call(
  ambient: Ambient,
  method: string,
  ...words: readonly string[]
): Promise<RunResult | undefined> {
  const [file, args] = client(ambient, method, words) ?? [];
  if (file === undefined || args === undefined) return undefined;
  const answer = await ambient.run(file, args, { env: programEnv(ambient.env), timeout: PATIENCE });
  // busctl, dbus-send and the bus itself: no such name; no bus.
  const isAbsent =
    answer.status !== 0 &&
    /does not exist|not provided by any|ServiceUnknown|NameHasNoOwner|Failed to connect|Failed to open connection/.test(
      answer.stderr,
    );
  return isAbsent ? undefined : answer;
}

function client(
  { env }: Ambient,
  method: string,
  words: readonly string[],
): [file: string, args: string[]] | undefined {
  const busctl = findProgram(env, 'busctl');
  if (busctl !== undefined) {
    const signature = words.length > 0 ? ['s'.repeat(words.length)] : [];
    const to = [NAME, OBJECT, INTERFACE, method, ...signature, ...words];
    return [busctl, ['--system', '--auto-start=no', 'call', ...to]];
  }
  const send = findProgram(env, 'dbus-send');
  if (send === undefined) return undefined;
  const typed = words.map((word) => `string:${word}`);
  return [send, ['--system', '--print-reply', `--dest=${NAME}`, OBJECT, `${INTERFACE}.${method}`, ...typed]];
}

/** The strings of an answer; neither program writes quotes for anything else. Undefined for an error. */
function strings(answer: RunResult | undefined): string[] | undefined {
  if (answer?.status !== 0) return undefined;
  return [...answer.stdout.matchAll(/"([^"]*)"/g)].flatMap(([, text]) => text ?? []);
}

const reasonOf = ({ status, stderr }: RunResult) =>
  stderr
    .trim()
    .split('\n')[0]
    ?.replace(/^Call failed: /, '') || `exit status ${status}`;
