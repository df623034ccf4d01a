/** The entry of `weft-oci`: a bundle of its own, since containerd and Podman start one for everything that they do to a container. */
import { runOci } from '../cli/oci/main.ts';
import { tryWriteAll } from '../runtime/write-all.ts';

/** Throws what keeps the answer from being written. */
function out(text: string): void {
  const code = tryWriteAll(1, text);
  if (code !== undefined) throw new Error(`cannot write to standard output: ${code}`);
}

const err = (text: string) => void tryWriteAll(2, text);

// Before the command's words: Node, the bundle, the name it was called by, its own file's name.
runOci(process.argv.slice(4), import.meta.dirname, { out, err }).then((status) => process.exit(status));
