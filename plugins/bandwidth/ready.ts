/** Whether the kernel has what shaping needs, asked without making anything. */
import { CniError, ErrorCode } from '../../cni/errors.ts';
import type { Namespace, NetlinkError } from '../../netlink/door.ts';
import { probeAction } from '../../netlink/filter.ts';
import { probeKind } from '../../netlink/link-kinds.ts';
import { probeQdisc } from '../../netlink/qdisc.ts';

/** Throws CniError(notAvailable). */
export async function requireShaping(host: Namespace): Promise<void> {
  const [ifb, tbf, clsact, mirred] = await host.send(
    probeKind('ifb'),
    probeQdisc('tbf'),
    probeQdisc('clsact'),
    probeAction('mirred'),
  );
  const unknown = (reply: { ok: boolean; error?: NetlinkError }, errno: string) =>
    reply.error?.errno === errno;
  const missing = [
    ...(unknown(ifb, 'EOPNOTSUPP') ? ['ifb'] : []),
    ...(unknown(tbf, 'ENOENT') ? ['sch_tbf'] : []),
    ...(unknown(clsact, 'ENOENT') ? ['sch_ingress'] : []),
    ...(unknown(mirred, 'ENOENT') ? ['act_mirred'] : []),
  ];
  if (missing.length === 0) return;
  throw new CniError(
    ErrorCode.notAvailable,
    `the kernel of this host cannot limit bandwidth: it has no ${missing.join(', ')}`,
  );
}
