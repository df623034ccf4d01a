/** The kernel's refusals as the errors that cross the door. */
import { CniError, ErrorCode } from '../cni/errors.ts';
import { NetlinkError } from '../netlink/door.ts';

const HELP: Readonly<Record<string, { code: number; advice: string }>> = {
  EPERM: { code: ErrorCode.kernel, advice: 'run as root (CAP_NET_ADMIN is needed)' },
  EACCES: { code: ErrorCode.kernel, advice: 'run as root (CAP_NET_ADMIN is needed)' },
  EOPNOTSUPP: { code: ErrorCode.noKernelSupport, advice: 'the kernel of this host does not have it' },
  EAFNOSUPPORT: { code: ErrorCode.noKernelSupport, advice: 'the kernel of this host does not have it' },
  EEXIST: { code: ErrorCode.conflict, advice: 'it is there already' },
  EBUSY: { code: ErrorCode.tryAgain, advice: 'try again later' },
  ENOBUFS: { code: ErrorCode.tryAgain, advice: 'the kernel is short of memory, try again later' },
};

/** What the user is told when the kernel refuses, a message or a file; `details` has its own words. Other errors pass unchanged. */
export function explainError(error: unknown): unknown {
  if (!(error instanceof NetlinkError)) return explainSystemError(error);
  const help = HELP[error.errno];
  const message = `cannot ${error.what}: ${error.errno}${help ? `: ${help.advice}` : ''}`;
  return new CniError(help?.code ?? ErrorCode.kernel, message, error.kernelMessage ?? error.message, {
    cause: error,
  });
}

/** Errors of files and of the native core; their messages name what was tried. */
function explainSystemError(error: unknown): unknown {
  const isSystem = error instanceof Error && /^E[A-Z0-9]+$/.test(codeOf(error) ?? '');
  if (!isSystem || error instanceof CniError) return error;
  // Only a namespace that may not be entered: a file that may not be written is another matter (a read-only /proc).
  if (codeOf(error) === 'EPERM' && /setns/.test(error.message)) {
    const message = "cannot enter the container's network namespace: run as root (CAP_SYS_ADMIN is needed)";
    return new CniError(ErrorCode.kernel, message, error.message, { cause: error });
  }
  return new CniError(ErrorCode.io, error.message, undefined, { cause: error });
}

/** The error with more details, for what else went wrong while undoing. */
export function withDetails(error: unknown, more: readonly string[]): unknown {
  if (more.length === 0 || !(error instanceof Error)) return error;
  const own = error instanceof CniError ? error : undefined;
  const details = [own?.details, ...more].filter(Boolean).join('; ');
  return new CniError(own?.code ?? ErrorCode.internal, error.message, details, { cause: error });
}

/** Several things went wrong, each of which was tolerated until the end: one error that names all. */
export function joinErrors(errors: readonly unknown[], what: string): void {
  if (errors.length === 0) return;
  const explained = errors.map(explainError);
  if (explained.length === 1) throw explained[0];
  const messages = explained.map((error) => (error instanceof Error ? error.message : String(error)));
  const code = explained.find((error) => error instanceof CniError)?.code ?? ErrorCode.internal;
  throw new CniError(code, `${what}: ${messages.join('; ')}`, undefined, { cause: explained[0] });
}

/** The error code of a file operation, `ENOENT`. */
export function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException | null | undefined)?.code;
}
