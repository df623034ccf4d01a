/**
 * `weft-oci`, and `weft oci`: an OCI runtime for containerd and Podman (docs/decisions/0018-bundles-for-other-runtimes.md). They call
 * it with runc's command line and read its errors where runc puts them.
 */
import { appendFileSync } from 'node:fs';
import { OciError } from '../../runtime/oci/bundle.ts';
import type { Home } from '../../runtime/oci/operations.ts';
import { OCI_VERSION } from '../../runtime/oci/state.ts';
import { WEFT_VERSION } from '../version-number.ts';
import { COMMANDS, type OciContext } from './commands.ts';
import { isOn, takeOptions } from './words.ts';

const OPTIONS = {
  root: true,
  log: true,
  'log-format': true,
  debug: false,
  'systemd-cgroup': false,
  rootless: true,
  criu: true,
  version: false,
  help: false,
};

const DEFAULT_ROOT = '/run/weft-oci';

const HELP = `weft-oci runs the containers of containerd, Podman and others that call an OCI runtime, with runc's command line.

USAGE
  weft-oci [--root DIR] [--log FILE] [--log-format text|json] COMMAND

COMMANDS
  create [--bundle DIR] [--pid-file F] [--console-socket S] [--preserve-fds N] ID
  start ID
  state ID
  kill [--all] ID [SIGNAL]
  delete [--force] ID
  exec [--process F] [--pid-file F] [--console-socket S] [--detach] ID [COMMAND]
  ps [--format table|json] ID
  list [--format table|json] [--quiet]
  pause ID
  resume ID
  update --resources FILE ID
  features

  containerd   ctr run --runc-binary /path/to/weft-oci ..., or BinaryName in the options of io.containerd.runc.v2
  Podman       podman --runtime /path/to/weft-oci ...
`;

export interface OciStreams {
  out(text: string): void;
  err(text: string): void;
}

/**
 * Returns the exit status: 0, or 1 with the reason on standard error and in the log.
 * @param programs the folder of the executables
 */
export async function runOci(
  words: readonly string[],
  programs: string,
  streams: OciStreams,
): Promise<number> {
  let log: ((level: string, text: string) => void) | undefined;
  try {
    const { options, rest } = takeOptions(words, OPTIONS, { v: 'version', h: 'help' });
    const file = options.get('log');
    const json = options.get('log-format') === 'json';
    if (file) log = (level, text) => appendFileSync(file, logLine(level, text, json), { mode: 0o600 });
    const [name, ...others] = rest;
    if (isOn(options, 'version')) {
      streams.out(`weft-oci version ${WEFT_VERSION}\nspec: ${OCI_VERSION}\n`);
      return 0;
    }
    if (name === undefined || name === 'help' || isOn(options, 'help')) {
      streams.out(HELP);
      return 0;
    }
    if (isOn(options, 'systemd-cgroup'))
      throw new OciError('--systemd-cgroup is not supported: tell the caller to use cgroupfs');
    const warn = (text: string) => (log ? log('warning', text) : streams.err(`weft-oci: ${text}\n`));
    const home: Home = { root: options.get('root') || DEFAULT_ROOT, programs, warn };
    const command = COMMANDS[name];
    if (!command) throw new OciError(`unknown command ${JSON.stringify(name)}`);
    const context: OciContext = { home, out: streams.out };
    return await command(others, context);
  } catch (error) {
    const text = textOf(error);
    log?.('error', text);
    streams.err(`${text}\n`);
    return 1;
  }
}

function textOf(error: unknown): string {
  const { message, details } = error as { message?: string; details?: string };
  return details === undefined ? (message ?? String(error)) : `${message} (${details})`;
}

/** As logrus writes it: both callers read the last error out of it. */
function logLine(level: string, msg: string, json: boolean): string {
  const time = new Date().toISOString();
  if (json) return `${JSON.stringify({ level, msg, time })}\n`;
  return `time=${JSON.stringify(time)} level=${level} msg=${JSON.stringify(msg)}\n`;
}
