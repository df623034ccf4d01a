/**
 * A link of the host that is the container's for a while. It goes in by one message, which moves it, renames it and writes its name
 * on the host into its alias (where the reference's plugin keeps it, too): a crash leaves it here or there, never in between.
 */
import { linkNameFault } from '../../cni/environment.ts';
import { CniError, ErrorCode } from '../../cni/errors.ts';
import type { Namespace, NetlinkError } from '../../netlink/door.ts';
import { getLink, type Link, listLinks, setLink } from '../../netlink/link.ts';
import { tolerating } from '../../netlink/message.ts';
import type { StepKind } from '../kind.ts';
import { lookForLink } from '../look.ts';
import { netnsName, quote } from '../render.ts';
import type { Run } from '../run.ts';
import type { DeviceStep } from '../step.ts';
import { namespaceOf, type Surroundings } from '../surroundings.ts';
import { insideDifferences, missingInside } from './inside-link.ts';

/** The kernel puts the first free number in its place (dev_alloc_name). */
const ANY_NAME = 'dev%d';

const hasMac = (link: Link, mac: string) => link.mac === mac.toLowerCase();

async function find({ host: { name, mac } }: DeviceStep, run: Run): Promise<Link> {
  if (name !== undefined) {
    const reply = await run.ask('host', tolerating(getLink(name), 'ENODEV'));
    if (reply.ok) return reply.value;
    throw notThere(`device: wanted a link ${name} on the host, found none`);
  }
  const reply = await run.ask('host', listLinks());
  const found = reply.ok ? reply.value.filter((link) => mac !== undefined && hasMac(link, mac)) : [];
  const [link, ...more] = found;
  if (!link) throw notThere(`hwaddr: wanted a link with MAC ${mac} on the host, found none`);
  if (more.length === 0) return link;
  const names = found.map((one) => one.name).join(', ');
  throw new CniError(ErrorCode.invalidConfig, `hwaddr: MAC ${mac} is that of ${names}: name one by device`);
}

const notThere = (problem: string) =>
  new CniError(ErrorCode.invalidConfig, `${problem}: a link is in one container at a time`);

function explain(link: Link, { name }: DeviceStep, error: NetlinkError): Error | undefined {
  if (error.errno === 'EEXIST') {
    return new CniError(
      ErrorCode.conflict,
      `the container has a link ${name} already: CNI_IFNAME must be a free name`,
      error.message,
    );
  }
  if (error.errno !== 'EINVAL') return undefined;
  return new CniError(
    ErrorCode.invalidConfig,
    `${link.name} cannot leave the host's network namespace: the kernel keeps links of its kind where they are`,
    error.message,
    { cause: error },
  );
}

/** Whether the container's link is the one that was given to it: its alias says where it came from, which a link of ours never does. */
function isLent({ alias, mac, kind }: Link, { host }: DeviceStep): boolean {
  if (!alias || linkNameFault(alias) !== undefined) return false;
  if (host.name !== undefined) return alias === host.name;
  // What is on a bus has no kind.
  return host.mac === undefined ? kind === undefined : mac === host.mac.toLowerCase();
}

async function isOnHost(host: Namespace, name: string): Promise<boolean> {
  const [reply] = await host.send(tolerating(getLink(name), 'ENODEV'));
  return reply.ok;
}

/** Back to the host with its old name; where somebody has that by now, under a name that the kernel chooses, its alias as it is. */
async function giveBack(step: DeviceStep, surroundings: Surroundings): Promise<boolean> {
  const { host, container } = surroundings;
  if (!container) return false;
  const link = await lookForLink(surroundings, 'container', step.name);
  if (!link || !isLent(link, step) || link.alias === undefined) return false;
  const back = (await isOnHost(host, link.alias)) ? { rename: ANY_NAME } : { rename: link.alias, alias: '' };
  await container.send(tolerating(setLink(link.index, { ...back, netnsFd: host.fd }), 'ENODEV'));
  return true;
}

/**
 * The kernel gives physical links of a namespace that ends back to the first one, under the name that they had, or `dev<index>`
 * (default_device_exit_net in net/core/dev.c), and down: one that somebody set up is in use as it is. Links that are made by software end
 * with the namespace. Returns what was renamed, readable.
 */
export async function renameReturned(
  step: DeviceStep,
  host: Namespace,
  namedAs: (link: Link) => boolean = ({ name, index }) => name === step.name || name === `dev${index}`,
): Promise<string[]> {
  const [reply] = await host.send(listLinks());
  const links = reply.ok ? reply.value : [];
  const names = new Set(links.map(({ name }) => name));
  const renamed: string[] = [];
  for (const link of links) {
    const { alias, name, index, up } = link;
    if (up || alias === undefined || !isLent(link, step) || names.has(alias) || !namedAs(link)) continue;
    await host.send(tolerating(setLink(index, { rename: alias, alias: '' }), 'ENODEV', 'EEXIST'));
    renamed.push(`${alias}, which had come back as ${name}`);
  }
  return renamed;
}

export const device: StepKind<DeviceStep> = {
  async apply(step, run) {
    const link = await find(step, run);
    const { name, up } = step;
    const container = namespaceOf(run.surroundings, 'container');
    run.push(
      'host',
      setLink(link.index, {
        netnsFd: container.fd,
        rename: name,
        alias: link.name,
        up: up || undefined,
      }),
      {
        // The kernel moves first: what it refuses afterwards is refused in the container.
        partly: true,
        undo: { what: `give ${link.name} back to the host`, undo: () => giveBack(step, run.surroundings) },
        explain: (error) => explain(link, step, error),
      },
    );
    const reply = await run.ask('container', getLink(name));
    if (reply.ok) run.learn('container', name, reply.value);
  },

  async verify(step, look) {
    const link = await look.link('container', step.name);
    return link ? insideDifferences(step, undefined, link) : [missingInside(step.name)];
  },

  async remove(step, surroundings) {
    if (!(await giveBack(step, surroundings))) await renameReturned(step, surroundings.host);
  },

  render({ name, host, up }, { netns }) {
    const line = (dev: string) =>
      `ip link set ${dev} netns ${quote(netnsName(netns) ?? netns)} name ${quote(name)} alias ${dev}${up ? ' up' : ''}`;
    if (host.name !== undefined) return [line(quote(host.name))];
    const found =
      host.mac === undefined
        ? `ls ${host.folder ?? 'FOLDER'}/net`
        : `ip -o link | sed -n 's/^[0-9]*: \\([^:@]*\\).* link\\/[a-z]* ${host.mac} .*/\\1/p;'`;
    return [`device=$(${found}); ${line('"$device"')}`];
  },
};
