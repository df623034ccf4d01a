/** Every error code that a weft executable can answer with (SPEC 1.1, "Error"; 100 and up are ours). */
export const ErrorCode = {
  incompatibleVersion: 1,
  unsupportedField: 2,
  unknownContainer: 3,
  invalidEnvironment: 4,
  io: 5,
  decoding: 6,
  invalidConfig: 7,
  invalidNamespace: 8,
  tryAgain: 11,
  notAvailable: 50,
  limitedConnectivity: 51,
  /** The kernel refused a change; `details` has its own words. */
  kernel: 100,
  /** What CHECK found differs from what ADD made. */
  checkFailed: 101,
  /** The kernel of this host lacks what the configuration asks for. */
  noKernelSupport: 102,
  /** No address is left in the ranges asked for. */
  exhausted: 103,
  /** An address, a name or a port is held by somebody else. */
  conflict: 104,
  /** A program that was executed (delegate, iptables, nft) is missing or failed. */
  program: 105,
  internal: 999,
} as const;
export type ErrorCode = (typeof ErrorCode)[keyof typeof ErrorCode];

/**
 * The one error that crosses the door. `msg` says what was wanted, what was found and what to do;
 * `details` carries the underlying system's words.
 */
export class CniError extends Error {
  override readonly name = 'CniError';
  readonly code: number;
  readonly details: string | undefined;

  constructor(code: number, msg: string, details?: string, options?: { cause?: unknown }) {
    super(msg, options);
    this.code = code;
    this.details = details;
  }
}
