import { CniError, ErrorCode } from '../../cni/errors.ts';
import type { AttachmentId } from '../../cni/types.ts';
import type { NetlinkError } from '../../netlink/door.ts';
import {
  createVeth,
  deleteLink,
  getLink,
  type Link,
  listLinks,
  type PortSettings,
  setLink,
  settleLink,
} from '../../netlink/link.ts';
import { tolerating } from '../../netlink/message.ts';
import type { Difference } from '../difference.ts';
import type { StepKind } from '../kind.ts';
import { lookForLink } from '../look.ts';
import { inheritedMtu } from '../mtu.ts';
import { aliasNetwork, hostLinkName, hostLinkPrefix } from '../names.ts';
import { ipCommand, netnsName, quote } from '../render.ts';
import { type Run, Vanished } from '../run.ts';
import type { VethStep } from '../step.ts';
import { namespaceOf, type Surroundings } from '../surroundings.ts';
import { insideDifferences } from './inside-link.ts';
import { applyVlans, renderVlans, vlanDifferences } from './port-vlans.ts';

function portSettings({ port }: VethStep): PortSettings | undefined {
  const settings = {
    ...(port?.hairpin && { hairpin: true }),
    ...(port?.isolated && { isolated: true }),
  };
  return Object.keys(settings).length > 0 ? settings : undefined;
}

/** The kernel does not say which of the two names is taken, or that the bridge is gone: look, and tell. */
function explain(step: VethStep, error: NetlinkError): Error | undefined {
  const { host, inside } = step;
  if (error.errno === 'EEXIST') {
    return new CniError(
      ErrorCode.conflict,
      `cannot make link ${inside.name} in the container and ${host.name} on the host: one of the names is taken`,
      error.message,
      { cause: error },
    );
  }
  // do_set_master answers EINVAL, without a word, when the master's index is no link (any more).
  const silent = error.kernelMessage === undefined && ['EINVAL', 'ENODEV'].includes(error.errno);
  if (host.master === undefined || !silent) return undefined;
  return new Vanished(
    new CniError(
      ErrorCode.tryAgain,
      `bridge ${host.master} was removed by somebody else while ${host.name} was to become its port: try again`,
      error.message,
      { cause: error },
    ),
  );
}

/**
 * A host end of that name was left by an ADD that crashed, or whose container died without a DEL; its other end is not in this
 * container, as `ifname` was free there.
 */
async function removeLeftover(step: VethStep, run: Run): Promise<void> {
  const { host } = run.surroundings;
  const [link, inside] = await Promise.all([
    lookForLink(run.surroundings, 'host', step.host.name),
    lookForLink(run.surroundings, 'container', step.inside.name),
  ]);
  if (inside || link?.kind !== 'veth') return;
  await host.send(tolerating(deleteLink(step.host.name), 'ENODEV'));
}

function portDifferences(step: VethStep, link: Link, master: Link | undefined): Difference[] {
  const what = `link ${step.host.name} on the host`;
  const differences: Difference[] = [];
  if (!link.up) differences.push({ what, wanted: 'up', found: 'down' });
  if (step.host.master && link.master !== master?.index) {
    const found = link.master === undefined ? 'no port of a bridge' : `port of link ${link.master}`;
    differences.push({ what, wanted: `port of ${step.host.master}`, found });
  }
  for (const [option, wanted] of Object.entries(portSettings(step) ?? {})) {
    if (link.port?.[option as keyof PortSettings] !== wanted) {
      differences.push({ what, wanted: `${option} on`, found: `${option} off` });
    }
  }
  return differences;
}

/**
 * Whether the alias of the other end says that another attachment of ours owns a container's link: a DEL that follows an ADD which found
 * the name taken must not take it. Links of other programs go by their name, as with the reference.
 */
async function belongsElsewhere(inside: Link, alias: string, { host }: Surroundings): Promise<boolean> {
  if (inside.link === undefined) return false;
  const [peer] = await host.send(tolerating(getLink(inside.link), 'ENODEV'));
  if (!peer.ok || peer.value.link !== inside.index) return false;
  return (peer.value.alias?.startsWith('weft ') ?? false) && peer.value.alias !== alias;
}

/**
 * A carrier that comes is worked off later, by a kernel thread (linkwatch); until then the link drops what it sends, and a bridge
 * what its port receives. Reading a link works it off at once (rtnl_getlink, since Linux 6.8): apply reads both ends and the
 * bridge, so that the first packet of a container is not lost.
 *
 * A port of a bridge needs no IPv6 address of its own. Giving it one (and taking it away) makes the kernel tell groups and neighbours of
 * it by the bridge's other ports: a third of what a pair costs among 300.
 */
export const veth: StepKind<VethStep> = {
  async apply(step, run) {
    const { host, inside } = step;
    const master = host.master === undefined ? undefined : await run.link('host', host.master);
    const mtu = step.mtu ?? master?.mtu ?? (await inheritedMtu(run));
    const container = namespaceOf(run.surroundings, 'container');
    const op = createVeth({
      ...{ name: host.name, mac: host.mac, mtu, up: !master, alias: host.alias },
      master: master?.index,
      port: portSettings(step),
      peer: { name: inside.name, mac: inside.mac, mtu, netnsFd: container.fd },
    });
    run.push('host', op, {
      partly: true,
      undo: {
        what: `delete link ${host.name}`,
        undo: () => run.surroundings.host.send(tolerating(deleteLink(host.name), 'ENODEV')),
      },
      explain: (error) => explain(step, error),
      async recover(error) {
        if (error.errno !== 'EEXIST') return false;
        await removeLeftover(step, run);
        return true;
      },
      reply(reply) {
        if (!reply.ok) return;
        const { index, link: peer } = reply.value;
        run.learn('host', host.name, { index, mac: host.mac, mtu });
        if (peer !== undefined) run.learn('container', inside.name, { index: peer, mac: inside.mac, mtu });
      },
    });
    if (master) {
      run.push('host', tolerating(setLink(host.name, { linkLocal: false }), 'EAFNOSUPPORT'));
      run.push('host', setLink(host.name, { up: true }));
    }
    if (step.port) await applyVlans(host.name, step.port, run);
    // The kernel makes the inner end first, and refuses to set up a veth without another end.
    if (!inside.up) return;
    run.push('container', setLink(inside.name, { up: true }));
    run.push('container', settleLink(inside.name));
    run.atEnd(async () => {
      for (const name of [host.name, host.master]) if (name !== undefined) run.push('host', settleLink(name));
    });
  },

  async verify(step, look) {
    const { host, inside, mtu } = step;
    const [outer, inner, master] = await Promise.all([
      look.link('host', host.name),
      look.link('container', inside.name),
      host.master === undefined ? undefined : look.link('host', host.master),
    ]);
    const missing = (what: string): Difference => ({ what, wanted: 'present', found: 'no such link' });
    const vlans = outer && step.port ? await vlanDifferences(outer, step.port, look.surroundings) : [];
    return [
      ...(outer ? portDifferences(step, outer, master) : [missing(`link ${host.name} on the host`)]),
      ...vlans,
      ...(inner
        ? insideDifferences({ ...inside, mtu }, 'veth', inner)
        : [missing(`link ${inside.name} in the container`)]),
    ];
  },

  async remove({ host, inside }, surroundings) {
    // By name alone: the pair goes with either end, and so do its addresses, routes and its place in the bridge.
    const [outer] = await surroundings.host.send(tolerating(deleteLink(host.name), 'ENODEV'));
    if (outer.ok || !surroundings.container) return;
    const link = await lookForLink(surroundings, 'container', inside.name);
    if (link?.kind !== 'veth' || (await belongsElsewhere(link, host.alias, surroundings))) return;
    await surroundings.container.send(tolerating(deleteLink(link.index), 'ENODEV'));
  },

  render(step, { netns }) {
    const { host, inside, mtu } = step;
    const ip = (...words: Parameters<typeof ipCommand>[2][]) => ipCommand('host', netns, ...words);
    const size = mtu ? ['mtu', mtu] : [];
    const settings = Object.keys(portSettings(step) ?? {}).flatMap((option) => [option, 'on']);
    return [
      ip(
        ...['link', 'add', host.name, 'address', host.mac, ...size, ...(host.master ? [] : ['up'])],
        ...(host.master ? ['master', host.master] : []),
        ...['type', 'veth', 'peer', 'name', inside.name, 'address', inside.mac, ...size],
        ...['netns', netnsName(netns) ?? netns],
      ),
      ...(host.master
        ? [ip('link', 'set', host.name, 'addrgenmode', 'none'), ip('link', 'set', host.name, 'up')]
        : []),
      ...(inside.up ? [ipCommand('container', netns, 'link', 'set', inside.name, 'up')] : []),
      ip('link', 'set', host.name, 'alias', host.alias),
      ...(settings.length > 0 ? [`bridge link set dev ${quote(host.name)} ${settings.join(' ')}`] : []),
      ...(step.port ? renderVlans(host.name, step.port) : []),
    ];
  },
};

/**
 * Deletes a veth's host end that another implementation made, as the previous result names it; only where its MAC proves that the name
 * has not been given to somebody else since.
 */
export async function removeForeignLink(
  { host }: Pick<VethStep, 'host'>,
  surroundings: Surroundings,
): Promise<void> {
  const link = await lookForLink(surroundings, 'host', host.name);
  if (link?.kind !== 'veth' || link.mac !== host.mac.toLowerCase()) return;
  await surroundings.host.send(tolerating(deleteLink(link.index), 'ENODEV'));
}

/**
 * Deletes the host ends of a network's veth pairs that belong to none of the valid attachments; returns what it deleted, readable.
 * The name tells the network and the attachment; the alias, where there is one, has the last word.
 */
export async function collectHostLinks(
  network: string,
  valid: readonly AttachmentId[],
  { host }: Surroundings,
): Promise<string[]> {
  const [links] = await host.send(listLinks());
  if (!links.ok) throw links.error;
  const spared = new Set(valid.map((id) => hostLinkName(network, id)));
  const stale = links.value.filter(
    ({ name, kind, alias }) =>
      kind === 'veth' &&
      name.startsWith(hostLinkPrefix(network)) &&
      name.length === 15 &&
      !spared.has(name) &&
      aliasNetwork(alias, network) !== 'foreign',
  );
  const removed: string[] = [];
  for (const { name, alias } of stale) {
    await host.send(tolerating(deleteLink(name), 'ENODEV'));
    removed.push(`link ${name}${alias ? ` (${alias})` : ''}`);
  }
  return removed;
}
