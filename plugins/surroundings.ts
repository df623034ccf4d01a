/** The backends of a host as plans see them, each loaded when a step first needs it. */
import type { Ambient } from '../cni/ambient.ts';
import type { Namespace } from '../netlink/door.ts';
import type { Surroundings } from '../plan/surroundings.ts';

/** Opens nothing; closes nothing. `container`: undefined when it is gone, or the host alone is meant. */
export function surroundingsOf(
  ambient: Ambient,
  host: Namespace,
  container: Namespace | undefined,
): Surroundings {
  return {
    host,
    container,
    async firewall(backend) {
      const { firewall } = await import('../firewall/select.ts');
      return await firewall(host, ambient, backend);
    },
    async macFilter() {
      const { macFilter } = await import('../firewall/mac-filter.ts');
      return macFilter(host, ambient);
    },
    async ports(backend) {
      const { portBackend } = await import('../firewall/select-ports.ts');
      return await portBackend(host, ambient, backend);
    },
    async forward() {
      const { forwardRules } = await import('../firewall/forward.ts');
      return forwardRules(host, ambient);
    },
    sleep: (duration) => new Promise((resolve) => setTimeout(resolve, duration)),
  };
}
