import { CniError, ErrorCode } from '../../cni/errors.ts';
import { familyOf, networkOf } from '../../cni/prefix.ts';
import type { AttachmentId } from '../../cni/types.ts';
import type { Namespace, NetlinkError, Op } from '../../netlink/door.ts';
import {
  addFilter,
  deleteFilters,
  describeFilter,
  type Filter,
  type FilterHook,
  hasFilters,
  listFilters,
} from '../../netlink/filter.ts';
import { createIfb } from '../../netlink/ifb.ts';
import { deleteLink, getLink, listLinks } from '../../netlink/link.ts';
import { tolerating } from '../../netlink/message.ts';
import {
  addFilterPlace,
  type Bucket,
  burstOf,
  deleteFilterPlace,
  deleteRootQdisc,
  isBucket,
  listQdiscs,
  setBucket,
} from '../../netlink/qdisc.ts';
import type { Difference } from '../difference.ts';
import { explainError } from '../failure.ts';
import type { StepKind } from '../kind.ts';
import { lookForLink } from '../look.ts';
import { aliasNetwork, ifbName, ifbPrefix } from '../names.ts';
import { ipCommand, quote } from '../render.ts';
import type { ShapeStep } from '../step.ts';
import type { Surroundings } from '../surroundings.ts';

/** Major number of our buckets, `7765:`, by which they are told from others'. */
const HANDLE = 0x7765;

/** Of our filters: behind those that others may have there. One number is for one protocol. */
const PREFERENCES = { 4: 30565, 6: 30566, rest: 30567 } as const;

/** As long as an Ethernet link may be asked to wait: what redirects to an ifb is handed over by packets (ifb's own 32 are too few). */
const IFB_QUEUE = 1000;

/** Ethernet header and a VLAN tag, in bytes. */
const OVERHEAD = 18;

/** A packet larger than the burst would never be let through. */
function bucketOf({ rate, burst, limit }: ShapeStep, mtu: number): Bucket {
  const largest = mtu + OVERHEAD;
  return { rate, burst: Math.max(burst, largest), limit: Math.max(limit, largest) };
}

/** What the container sends comes in by the host's end of its link. */
const hookOf = ({ direction }: ShapeStep): FilterHook => (direction === 'egress' ? 'ingress' : 'egress');

function filtersOf({ direction, only, except }: ShapeStep, redirect: number): Filter[] {
  const side = direction === 'egress' ? 'destination' : 'source';
  const filter = (prefix: string): Filter => ({
    preference: PREFERENCES[familyOf(prefix)],
    match: { side, prefix: networkOf(prefix) },
  });
  const rest = { preference: PREFERENCES.rest, redirect };
  if (only?.length) return only.map((prefix) => ({ ...filter(prefix), redirect }));
  return [...(except ?? []).map(filter), rest];
}

/** Of whatever configuration. */
const clearing = (link: number, hook: FilterHook) =>
  [
    { preference: PREFERENCES[4], match: { side: 'source' as const, prefix: '0.0.0.0/0' } },
    { preference: PREFERENCES[6], match: { side: 'source' as const, prefix: '::/0' } },
    { preference: PREFERENCES.rest },
  ].map((filter) => tolerating(deleteFilters(link, hook, filter), 'ENOENT', 'EINVAL', 'ENODEV'));

/** The kernel's word for a module that it does not have is ENOENT here. */
function explain(error: NetlinkError, dev: string): Error | undefined {
  if (error.errno === 'ENOENT') {
    return new CniError(
      ErrorCode.noKernelSupport,
      `cannot ${error.what}: the kernel of this host does not have it (sch_tbf, sch_ingress, cls_u32, act_mirred and ifb are needed)`,
      error.message,
      { cause: error },
    );
  }
  if (error.errno !== 'EEXIST') return undefined;
  return new CniError(
    ErrorCode.conflict,
    `link ${dev} has a queueing discipline of somebody else: remove it (tc qdisc del dev ${dev} root), or take bandwidth out of the chain`,
    error.message,
    { cause: error },
  );
}

const words = ({ direction, dev }: ShapeStep) =>
  `what the container ${direction === 'egress' ? 'sends' : 'receives'} by ${dev}`;

/** Takes everything off the host's end, where it is still there. */
async function release(index: number, step: ShapeStep, host: Namespace): Promise<void> {
  const gone = (op: Op<void>) => tolerating(op, 'ENOENT', 'EINVAL', 'ENODEV');
  if (step.direction === 'ingress') await host.send(gone(deleteRootQdisc(index, HANDLE, 'tbf')));
  const [qdiscs] = await host.send(listQdiscs(index));
  if (!qdiscs.ok || !qdiscs.value.some(({ kind }) => kind === 'clsact')) return;
  await host.send(...clearing(index, hookOf(step)));
  const others = await host.send(hasFilters(index, 'ingress'), hasFilters(index, 'egress'));
  // The place may be somebody else's; an empty one would be in the way of who wants to make it.
  if (!others.some((reply) => reply.ok && reply.value)) await host.send(gone(deleteFilterPlace(index)));
}

async function unshape(step: ShapeStep, { host }: Surroundings): Promise<void> {
  const [link] = await host.send(tolerating(getLink(step.dev), 'ENODEV'));
  if (link.ok) await release(link.value.index, step, host);
  if (step.ifb) await host.send(tolerating(deleteLink(step.ifb.name), 'ENODEV'));
}

async function verifyBucket(
  step: ShapeStep,
  target: { index: number; mtu: number; name: string },
  { host }: Surroundings,
): Promise<Difference[]> {
  const [reply] = await host.send(listQdiscs(target.index));
  const root = (reply.ok ? reply.value : []).find((qdisc) => qdisc.root);
  const wanted = bucketOf(step, target.mtu);
  const what = `token bucket on ${target.name} on the host, for ${words(step)}`;
  if (!root?.tbf) return [{ what, wanted: 'present', found: root?.kind ?? 'nothing' }];
  if (isBucket(root.tbf, wanted)) return [];
  const text = ({ rate, burst, limit }: Bucket) =>
    `${rate * 8} bit/s with a burst of ${burst} and a queue of ${limit} bytes`;
  return [{ what, wanted: text(wanted), found: text({ ...root.tbf, burst: burstOf(root.tbf) }) }];
}

/** Ours among the filters of the host's end. */
async function verifyFilters(
  step: ShapeStep,
  link: number,
  redirect: number,
  { host }: Surroundings,
): Promise<Difference[]> {
  const [reply] = await host.send(tolerating(listFilters(link, hookOf(step)), 'ENOENT', 'EINVAL'));
  const ours: readonly number[] = Object.values(PREFERENCES);
  const found = (reply.ok ? reply.value : []).filter(({ preference }) => ours.includes(preference));
  const text = (filters: typeof found) =>
    filters.map((filter) => `${filter.preference} ${filter.text}`).sort();
  const [wanted, present] = [text(filtersOf(step, redirect).map(describeFilter)), text(found)];
  if (wanted.join() === present.join()) return [];
  const say = (lines: string[]) => (lines.length > 0 ? lines.join(', ') : 'nothing');
  return [
    {
      what: `filters on ${step.dev} on the host, for ${words(step)}`,
      wanted: say(wanted),
      found: say(present),
    },
  ];
}

export const shape: StepKind<ShapeStep> = {
  async apply(step, run) {
    const { dev, ifb } = step;
    const { host } = run.surroundings;
    const reply = await run.ask('host', getLink(dev));
    if (!reply.ok) throw reply.error;
    const { index, mtu } = reply.value;
    const bucket = bucketOf(step, mtu);
    const undo = { what: `take the shaping off ${dev}`, undo: () => unshape(step, run.surroundings) };
    const hooks = { undo, explain: (error: NetlinkError) => explain(error, dev) };
    if (!ifb) {
      run.push('host', setBucket(index, HANDLE, bucket), hooks);
      return;
    }
    const made = await run.ask('host', createIfb({ ...ifb, mtu, up: true, txQueueLength: IFB_QUEUE }), {
      undo,
      partly: true,
      // Left by an ADD before this one.
      async recover(error) {
        if (error.errno !== 'EEXIST') return false;
        const link = await lookForLink(run.surroundings, 'host', ifb.name);
        if (link !== undefined && link.kind !== 'ifb') return false;
        await host.send(tolerating(deleteLink(ifb.name), 'ENODEV'));
        return true;
      },
    });
    if (!made.ok) throw made.error;
    const { index: redirect } = made.value;
    // First the bucket: what is redirected finds it.
    run.push('host', setBucket(redirect, HANDLE, bucket), hooks);
    run.push('host', tolerating(addFilterPlace(index), 'EEXIST'), hooks);
    for (const op of clearing(index, hookOf(step))) run.push('host', op);
    for (const filter of filtersOf(step, redirect)) {
      run.push('host', addFilter(index, hookOf(step), filter), hooks);
    }
  },

  async verify(step, look) {
    const { dev, ifb } = step;
    const missing = (name: string): Difference[] => [
      { what: `link ${name} on the host, for ${words(step)}`, wanted: 'present', found: 'no such link' },
    ];
    const link = await look.link('host', dev);
    if (!link) return missing(dev);
    if (!ifb) return await verifyBucket(step, link, look.surroundings);
    const target = await look.link('host', ifb.name);
    if (!target) return missing(ifb.name);
    return [
      ...(target.up ? [] : [{ what: `link ${ifb.name} on the host`, wanted: 'up', found: 'down' }]),
      ...(await verifyBucket(step, { ...target, mtu: link.mtu }, look.surroundings)),
      ...(await verifyFilters(step, link.index, target.index, look.surroundings)),
    ];
  },

  remove: unshape,

  render(step, { netns }) {
    const { dev, ifb, rate, burst, limit } = step;
    const bucket = (target: string) =>
      `tc qdisc replace dev ${quote(target)} root handle ${HANDLE.toString(16)}: tbf rate ${rate * 8}bit burst ${burst} limit ${limit}`;
    if (!ifb) return [bucket(dev)];
    const filter = ({ preference, match, redirect }: Filter) => {
      const ip = match?.prefix.includes(':') ? 'ip6' : 'ip';
      const side = match?.side === 'source' ? 'src' : 'dst';
      return [
        `tc filter add dev ${quote(dev)} ${hookOf(step)} pref ${preference}`,
        match
          ? `protocol ${ip === 'ip6' ? 'ipv6' : 'ip'} u32 match ${ip} ${side} ${match.prefix}`
          : 'protocol all u32 match u32 0 0',
        redirect === undefined ? 'flowid :1' : `action mirred egress redirect dev ${ifb.name}`,
      ].join(' ');
    };
    return [
      ipCommand('host', netns, 'link', 'add', ifb.name, 'up', 'txqueuelen', IFB_QUEUE, 'type', 'ifb'),
      ipCommand('host', netns, 'link', 'set', ifb.name, 'alias', ifb.alias),
      bucket(ifb.name),
      `tc qdisc replace dev ${quote(dev)} clsact`,
      ...filtersOf(step, 0).map(filter),
    ];
  },
};

/** Deletes the ifbs of a network that belong to none of the valid attachments; returns what it deleted, readable. */
export async function collectIfbs(
  network: string,
  valid: readonly AttachmentId[],
  { host }: Surroundings,
): Promise<string[]> {
  const [links] = await host.send(listLinks());
  if (!links.ok) throw explainError(links.error);
  const spared = new Set(
    valid.flatMap((id) => [ifbName(network, id, 'ingress'), ifbName(network, id, 'egress')]),
  );
  const stale = links.value.filter(
    ({ name, kind, alias }) =>
      kind === 'ifb' &&
      name.startsWith(ifbPrefix(network)) &&
      name.length === 15 &&
      !spared.has(name) &&
      aliasNetwork(alias, network) !== 'foreign',
  );
  for (const { name } of stale) await host.send(tolerating(deleteLink(name), 'ENODEV'));
  return stale.map(({ name, alias }) => `link ${name}${alias ? ` (${alias})` : ''}`);
}
