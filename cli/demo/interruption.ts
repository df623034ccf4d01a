/** Somebody wants a demonstration to end before its end. */
import { CniError, ErrorCode } from '../../cni/errors.ts';
import type { Terminal } from '../terminal.ts';

export interface Interruption {
  /** Fails when the person or the system wants the demonstration to end; never resolves. */
  promise: Promise<never>;
  forget(): void;
}

export function interrupted(terminal: Terminal): Interruption {
  let forget = (): void => {};
  const promise = new Promise<never>((_, reject) => {
    forget = terminal.onInterrupt((signal) => {
      reject(new CniError(ErrorCode.program, `interrupted by ${signal}: the simulated hosts are taken away`));
    });
  });
  promise.catch(() => {});
  return { promise, forget };
}
