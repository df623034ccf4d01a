/** Runs the command in this process, its output kept. */

import { runWeft } from '../../cli/app.ts';
import type { Ambient } from '../../cni/ambient.ts';

export interface Output {
  status: number;
  out: string;
  err: string;
}

export async function weft(ambient: Ambient, ...argv: string[]): Promise<Output> {
  const output: Output = { status: -1, out: '', err: '' };
  output.status = await runWeft(argv, ambient, {
    out: (text) => {
      output.out += text;
    },
    err: (text) => {
      output.err += text;
    },
    color: false,
    onInterrupt: () => () => {},
  });
  return output;
}
