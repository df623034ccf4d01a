/** nft as a program, which writes base rules; elements go to the kernel natively. */
import type { Ambient } from '../cni/ambient.ts';
import { CniError, ErrorCode } from '../cni/errors.ts';
import type { Namespace } from '../netlink/door.ts';
import { onHost, programEnv } from './program.ts';

/** In a map's definition: each of its elements counts whom it matched. */
export const COUNTED = 'counter;';

/**
 * As runNft, for rules with maps that count. One that was made when they did not yet keeps its shape (the kernel answers EEXIST), and so do its
 * elements: then the same without.
 */
export async function runCounting(
  host: Namespace,
  ambient: Ambient,
  commands: readonly string[],
  what: string,
): Promise<void> {
  try {
    await runNft(host, ambient, commands, what);
  } catch (error) {
    if (!(error instanceof CniError) || !error.details?.includes('File exists')) throw error;
    const without = commands.map((command) => command.replace(` ${COUNTED}`, ''));
    await runNft(host, ambient, without, what);
  }
}

/**
 * Runs one nft transaction in the host's namespace.
 * @param what for the message: `install the nftables base rules of network podnet`
 * @throws CniError(program) when nft fails; its `details` are all that nft said
 */
export async function runNft(
  host: Namespace,
  ambient: Ambient,
  commands: readonly string[],
  what: string,
): Promise<void> {
  const [file, args] = onHost(host, 'nft', ['-f', '-']);
  const { status, stderr } = await ambient.run(file, args, {
    input: `${commands.join('\n')}\n`,
    env: programEnv(ambient.env),
  });
  if (status === 0) return;
  const words = stderr.trim();
  const reason = words.split('\n')[0]?.replace(/^\S+ Error: /, '') || `exit status ${status}`;
  throw new CniError(ErrorCode.program, `cannot ${what}: nft failed: ${reason}`, words || undefined);
}
