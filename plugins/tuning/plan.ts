/** The tuning plugin as a plan: settings of the container's namespace, and what its link is like. */
import { join } from 'node:path';
import type { Ambient } from '../../cni/ambient.ts';
import { addressOf } from '../../cni/prefix.ts';
import type { Result } from '../../cni/types.ts';
import type { Step, TuneStep } from '../../plan/step.ts';
import { askedMac } from '../asked-mac.ts';
import type { ChainedInput } from '../chained.ts';
import { answerFrom } from '../outcome.ts';
import type { TuningConf } from './schema.ts';
import { sysctlPath } from './sysctl.ts';

/** The runtime's arguments win over the configuration. */
export const askedSysctls = (config: TuningConf): Record<string, string> => ({
  ...config.sysctl,
  ...config.args?.cni?.sysctl,
});

/** Beside weft's own run folder; the reference's is /run/cni/tuning, too. */
export function dataDirOf(config: Pick<TuningConf, 'dataDir'>, { runDir }: Ambient['paths']): string {
  return config.dataDir || join(runDir, '..', 'cni', 'tuning');
}

/** What is asked of the link; a MAC or MTU that is empty or 0, and `promisc: false`, ask for nothing, as in the reference. */
function askedOf({ config, args }: ChainedInput<TuningConf>) {
  const asked = config.args?.cni;
  const mac = askedMac(config, args) ?? config.mac?.toLowerCase();
  const mtu = asked?.mtu ?? config.mtu;
  const promiscuous = asked?.promisc ?? config.promisc;
  const allMulticast = asked?.allmulti ?? config.allmulti;
  const txQueueLength = asked?.txQLen ?? config.txQLen;
  return {
    ...(mac && { mac }),
    ...(mtu && { mtu }),
    ...(promiscuous && { promiscuous }),
    ...(allMulticast !== undefined && { allMulticast }),
    ...(txQueueLength !== undefined && { txQueueLength }),
  };
}

function tuneStep(input: ChainedInput<TuningConf>, sysctls: string[]): TuneStep {
  const { containerId, ifname, network } = input.attachment;
  const file = join(dataDirOf(input.config, input.paths), `${containerId}_${ifname}.json`);
  return { kind: 'tune', in: 'container', network, dev: ifname, ...askedOf(input), sysctls, file };
}

/** Throws CniError(invalidConfig). */
export function tuningPlan(input: ChainedInput<TuningConf>): Step[] {
  const { ifname } = input.attachment;
  const wanted = Object.entries(askedSysctls(input.config)).map(([key, value]) => ({
    key: sysctlPath(key, ifname),
    value,
  }));
  const asked = askedOf(input);
  if (wanted.length === 0 && Object.keys(asked).length === 0) return [];
  const sysctls = wanted.map(({ key }) => key);
  const addresses = input.prevResult ? answerFrom(input.prevResult, ifname).ips : [];
  return [
    tuneStep(input, sysctls),
    ...wanted.map((setting): Step => ({ kind: 'sysctl', in: 'container', ...setting })),
    // Neighbours may know the link by the MAC that the plugins before gave it.
    ...(asked.mac !== undefined && addresses.length > 0
      ? [
          {
            kind: 'announce' as const,
            ...{ dev: ifname, mac: asked.mac, addresses: addresses.map(({ address }) => addressOf(address)) },
          },
        ]
      : []),
  ];
}

/** Whatever the configuration says by now: what was kept is put back. */
export const tuningRemoval = (input: ChainedInput<TuningConf>): Step[] => [tuneStep(input, [])];

/** The container's link as it is now. */
export function tuningResult(input: ChainedInput<TuningConf>, previous: Result): Result {
  const { mac, mtu } = askedOf(input);
  const interfaces = previous.interfaces.map((one) =>
    one.name === input.attachment.ifname && one.sandbox
      ? { ...one, ...(mac && { mac }), ...(mtu && { mtu }) }
      : one,
  );
  return { ...previous, interfaces };
}
