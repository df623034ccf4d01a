import { configSchema } from '../../cni/config.ts';
import { CniError, ErrorCode } from '../../cni/errors.ts';
import { listLinks } from '../../netlink/link.ts';
import type { Surroundings } from '../../plan/surroundings.ts';
import type { Definition } from '../definition.ts';
import { insideAnswer } from '../inside-link.ts';
import {
  deviceStep,
  hostDeviceAddresses,
  hostDeviceLinks,
  type ResolvedConf,
  resolveHostDevice,
  validateHostDevice,
} from './plan.ts';
import { schema } from './schema.ts';
import { validate } from './validate.generated.ts';

// Apart: TypeScript gives up on inferring the schema's type where a type is expected already.
const config = configSchema(schema, validate);

export const hostDevice: Definition<ResolvedConf> = {
  type: 'host-device',
  about: 'weft host-device: lends a link of the host to a container',
  config,
  knownArgs: ['IP', 'GATEWAY'],
  validate: validateHostDevice,
  resolve: (config, _, verb) => resolveHostDevice(config, verb),
  links: hostDeviceLinks,
  complete: insideAnswer,
  addresses: hostDeviceAddresses,
  ready,
  async collect({ config }, { host }) {
    const { renameReturned } = await import('../../plan/steps/device.ts');
    // Whatever the container called it; an alias alone, of a link that is told by its MAC or its place, may be a person's.
    const returned = config.device
      ? await renameReturned(deviceStep(config, '', false), host, () => true)
      : [];
    return returned.map((what) => `the wrong name of ${what}`);
  },
};

/** A link that is in a container already is in the way of every ADD. */
async function ready({ device, hwaddr, forPrograms }: ResolvedConf, { host }: Surroundings): Promise<void> {
  if (forPrograms) return;
  const [reply] = await host.send(listLinks());
  const links = reply.ok ? reply.value : [];
  const isMeant = device
    ? ({ name }: (typeof links)[number]) => name === device
    : ({ mac }: (typeof links)[number]) => mac === hwaddr?.toLowerCase();
  if (links.some(isMeant)) return;
  throw new CniError(
    ErrorCode.notAvailable,
    `no ADD can succeed: wanted link ${device || `with MAC ${hwaddr}`} on the host, found none: a link is in one container at a time`,
  );
}
