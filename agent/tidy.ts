/** Gives memory back when nothing is asked: V8 lets garbage lie until it needs the room, and a process that stays should not. */
import { loadNative } from '../netlink/native.ts';

/** Milliseconds without a request. */
const QUIET = 1000;
/** Requests; fewer leave little behind. */
const WORTH_IT = 50;

/** Tidies up when a burst of requests is over. @returns what is to be called at each request's end */
export function tidyUp(): () => void {
  let requests = 0;
  let timer: NodeJS.Timeout | undefined;
  return () => {
    requests += 1;
    if (timer) {
      timer.refresh();
      return;
    }
    if (requests < WORTH_IT) return;
    timer = setTimeout(() => {
      timer = undefined;
      requests = 0;
      // The launcher starts Node with --expose-gc.
      globalThis.gc?.();
      loadNative().trimMemory();
    }, QUIET);
    timer.unref();
  };
}
