/**
 * What is known of a container while it exists. `created`: made, its command not started; `stopped`: ended, its files are kept;
 * `broken`: its monitor is gone without having said how it ended.
 */
export type Phase = 'created' | 'running' | 'stopped' | 'broken';

export interface ContainerState {
  phase: Phase;
  /** Of its first process, in the PID namespace of the caller; absent unless it runs. */
  pid?: number;
  /** Of the process that keeps its output and its exit status. */
  monitor?: number;
  /** Milliseconds since the epoch. */
  started?: number;
  ended?: number;
  /** As the shell says it: the exit status, 128 + n when signal n ended it; 126, 127 when the command could not be started. */
  status?: number;
  /** The kernel ended something in it for want of memory. */
  outOfMemory?: boolean;
  /** Why it could not be started, with the step that failed. */
  failure?: string;
}
