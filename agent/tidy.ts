/** Gives memory back when nothing is asked: V8 lets garbage lie until it needs the room, and a process that stays should not. */
import { getHeapStatistics } from 'node:v8';
import { loadNative } from '../netlink/native.ts';

/** Milliseconds without a request. */
const QUIET = 1000;
/** Requests; fewer leave little behind. */
const WORTH_IT = 50;
/** Milliseconds between looks at what has gathered without requests: the repair reads what the kernel has of every container. */
const ROUTINE = 10_000;
/** Bytes of heap that are given back for that. */
const ROOM = 3 * 1024 * 1024;

/** Tidies up when a burst of requests is over, and when much has gathered besides. @returns what is to be called at each request's end */
export function tidyUp(): () => void {
  let requests = 0;
  let timer: NodeJS.Timeout | undefined;
  let heap = getHeapStatistics().total_heap_size;
  const tidy = () => {
    // The launcher starts Node with --expose-gc.
    globalThis.gc?.();
    loadNative().trimMemory();
    heap = getHeapStatistics().total_heap_size;
  };
  setInterval(() => {
    if (timer === undefined && getHeapStatistics().total_heap_size > heap + ROOM) tidy();
  }, ROUTINE).unref();
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
      tidy();
    }, QUIET);
    timer.unref();
  };
}
