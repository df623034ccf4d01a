/**
 * The loopback plugin: sets `lo` up in the container. Runtimes call it beside the chain of the network, in parallel with it,
 * with old versions of the specification; so it touches nothing else and keeps no state.
 */
import { configSchema } from '../../cni/config.ts';
import { CniError, ErrorCode } from '../../cni/errors.ts';
import type { AttachmentRequest, PluginVerbs } from '../../cni/plugin.ts';
import type { Result } from '../../cni/types.ts';
import { listAddresses } from '../../netlink/address.ts';
import { getLink } from '../../netlink/link.ts';
import { describeDifference } from '../../plan/difference.ts';
import { apply, verify } from '../../plan/engine.ts';
import type { Plan } from '../../plan/step.ts';
import { type PluginKit, type Session, withSession } from '../session.ts';
import { type LoopbackConf, schema } from './schema.ts';
import { validate } from './validate.generated.ts';

// Apart: TypeScript gives up on inferring the schema's type where a type is expected already.
const config = configSchema(schema, validate);

/** Whatever CNI_IFNAME says: there is one loopback link, and this is its name. */
const LO = 'lo';

export const loopbackPlan: Plan = [{ kind: 'link-up', in: 'container', dev: LO }];

async function resultOf(session: Session, netns: string): Promise<Result> {
  if (!session.container) throw new Error("the container's namespace is not open");
  const [link, addresses] = await session.container.send(getLink(LO), listAddresses({ link: 1 }));
  if (!link.ok || !addresses.ok) throw new Error('lo cannot be looked up');
  return {
    interfaces: [
      { name: LO, mac: link.value.mac ?? '00:00:00:00:00:00', mtu: link.value.mtu, sandbox: netns },
    ],
    ips: addresses.value.map(({ cidr }) => ({ address: cidr, interface: 0 })),
    routes: [],
    dns: {},
  };
}

async function add(request: AttachmentRequest<LoopbackConf>, session: Session): Promise<Result> {
  const { prevResult, attachment } = request;
  await apply(loopbackPlan, session);
  // A plugin later in a chain passes on what is there: the runtime wants the addresses of the network, not 127.0.0.1.
  return prevResult ?? (await resultOf(session, attachment.netns));
}

async function check(session: Session): Promise<void> {
  const differences = await verify(loopbackPlan, session);
  if (differences.length === 0) return;
  throw new CniError(ErrorCode.checkFailed, differences.map(describeDifference).join('; '));
}

export function loopback(kit: PluginKit): PluginVerbs<LoopbackConf> {
  return {
    type: 'loopback',
    about: 'weft loopback: sets the loopback link of a container up',
    config,
    knownArgs: [],
    add: (request) =>
      withSession(kit, request.ambient, { netns: request.attachment.netns, absent: 'error' }, (session) =>
        add(request, session),
      ),
    check: (request) =>
      withSession(kit, request.ambient, { netns: request.attachment.netns, absent: 'error' }, check),
    // The link goes with the namespace, and other plugins of the container may still use it until then.
    async del() {},
    async gc() {},
    async status() {},
  };
}
