/**
 * Everything a plugin may touch that is not its configuration: environment, streams, clock, files' lock,
 * other programs. It enters at the top as one argument, so that the whole protocol runs in memory in a test.
 */

/** Folders that can be moved by one variable each, so that several simulated hosts live on one machine. */
export interface Paths {
  /** Leases, in host-local's format; WEFT_DATA_DIR, `/var/lib/cni/networks`. */
  dataDir: string;
  /** Locks, indexes, sockets; gone after a reboot; WEFT_RUN_DIR, `/run/weft`. */
  runDir: string;
  /** libcni's result cache (its `results` folder is below); WEFT_CACHE_DIR, `/var/lib/cni`. */
  cacheDir: string;
  /** Conflists; WEFT_CONF_DIR, `/etc/cni/net.d`. */
  confDir: string;
}

export interface RunResult {
  /** Exit status; 128 + n when signal n ended it. */
  status: number;
  stdout: string;
  stderr: string;
}

export interface RunOptions {
  env?: Readonly<Record<string, string | undefined>>;
  input?: string;
  /** Hand the program's stderr to ours instead of returning it. */
  passStderr?: boolean;
  /** Milliseconds; the program is ended after that. */
  timeout?: number;
}

/** What tells whether a folder is still the same one (`identity`), and unchanged (`stamp`). */
export interface FolderLook {
  identity: string;
  stamp: string;
}

/** Changes to small files, each made in one go. All throw an Error with `code`. */
export interface Files {
  /** Undefined where there is none. */
  lookAtFolder(folder: string): FolderLook | undefined;
  /** Sets when a folder was read and changed, in milliseconds since the epoch. */
  dateFolder(folder: string, accessed: number, modified: number): FolderLook;
  /** Writes over what is there, in place; makes the file where there is none. */
  overwrite(file: string, text: string, mode: number): void;
  /** Makes a file under the first free one of the names; returns which, or -1. `spare`: where its text is written first. */
  claim(spare: string, folder: string, names: readonly string[], text: string): number;
  /** Takes a file away, which may be gone; it becomes the spare where there is none. */
  retire(file: string, spare: string): void;
  /** Puts a file of mode 0600 in the place of whatever is there, by way of `temporary`. */
  replace(file: string, temporary: string, spare: string, text: string): void;
}

export interface Ambient {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly paths: Paths;
  /** The process that was started for this request: its ancestors are the runtime. Absent where nobody knows it. */
  readonly pid?: number;
  /** All of standard input. */
  input(): Promise<string>;
  /** One line of log on stderr; never on stdout. */
  log(line: string): void;
  /**
   * An ADD that has found nothing of its attachment is about to make it: whoever serves the request after a crash must clear away
   * first what this ADD made so far.
   */
  begins?(): void;
  /** Runs `work` once the caller has its answer; absent where the process ends with it. What fails then is told to the log alone. */
  afterAnswer?(work: () => Promise<unknown>): void;
  /** Milliseconds since the epoch. */
  now(): number;
  /** Identity of this host for derived MAC addresses: the machine id, or the boot id where there is none. */
  hostId(): string;
  /**
   * Takes an exclusive flock(2) on a file, which is created (0600) if missing, and waits for it.
   * The lock is compatible with Go's and C's flock users (host-local's `lock`). Returns the release function.
   */
  lock(path: string): Promise<() => void>;
  /** Changes to small files, by the native core (netlink/files.ts). */
  readonly files: Files;
  /** What a process that stays keeps from one request to the next, to be verified by whoever put it there; absent in others. */
  readonly kept?: Map<string, unknown>;
  /** Runs a program to its end; throws CniError(program) only when it cannot be started. */
  run(file: string, args: readonly string[], options?: RunOptions): Promise<RunResult>;
}
