/** The host as plans see it, held open for as long as the agent watches it. */
import type { Ambient } from '../../cni/ambient.ts';
import type { Namespace } from '../../netlink/door.ts';
import type { Surroundings } from '../../plan/surroundings.ts';

export function watchedHost(host: Namespace, ambient: Ambient): Surroundings {
  return {
    host,
    container: undefined,
    async firewall(backend) {
      const { firewall } = await import('../../firewall/select.ts');
      return await firewall(host, ambient, backend);
    },
    async macFilter() {
      const { macFilter } = await import('../../firewall/mac-filter.ts');
      return macFilter(host, ambient);
    },
    async ports(backend) {
      const { portBackend } = await import('../../firewall/select-ports.ts');
      return await portBackend(host, ambient, backend);
    },
    async forward() {
      const { forwardRules } = await import('../../firewall/forward.ts');
      return forwardRules(host, ambient);
    },
    sleep: (duration) => new Promise((resolve) => setTimeout(resolve, duration)),
  };
}
