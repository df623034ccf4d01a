/** One finding put right, by the same code that an ADD runs. */
import { getLink, setLink } from '../../netlink/link.ts';
import { kindOf } from '../../plan/kinds.ts';
import { Run } from '../../plan/run.ts';
import type { Step } from '../../plan/step.ts';
import type { Surroundings } from '../../plan/surroundings.ts';
import type { Finding } from './finding.ts';
import { isCurrent } from './records.ts';

/**
 * To be called in the turn of the attachment's container, so that no request for it runs in this process. A DEL on the cold path removes the
 * record before anything else: where that happens meanwhile, what was put back is taken away again. Returns false when the attachment
 * is not there any more. Throws CniError or NetlinkError.
 */
export async function putBack({ entry, step }: Finding, surroundings: Surroundings): Promise<boolean> {
  if (!isCurrent(entry)) return false;
  // Nothing is undone on failure: the next look finds what is still missing.
  const run = new Run(entry.record.steps, surroundings);
  if (step.kind === 'veth') {
    if (step.host.master !== undefined) await intoBridge(step.host.name, step.host.master, surroundings);
  } else {
    await kindOf(step).apply(unforced(step), run);
    await run.finish();
  }
  if (isCurrent(entry)) return true;
  await kindOf(step).remove?.(step, surroundings);
  return false;
}

/** Others' addresses are not removed for ours, whatever the configuration allows an ADD. */
function unforced(step: Step): Step {
  return step.kind === 'address' && step.shared === 'replace' ? { ...step, shared: 'refuse' } : step;
}

async function intoBridge(port: string, bridge: string, { host }: Surroundings): Promise<void> {
  const [found] = await host.send(getLink(bridge));
  if (found.ok) await host.send(setLink(port, { master: found.value.index }));
}
