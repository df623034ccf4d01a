/** From a plan to the result that goes to the runtime, and back from a previous result to a plan. */
import type { Attachment, Dns, Interface, Result } from '../cni/types.ts';
import type { IpamResult } from '../ipam/ipam.ts';
import type { Facts } from '../plan/engine.ts';
import { isInsideLink, type Plan, type Step, type VethStep } from '../plan/step.ts';

function described(name: string, facts: Facts[string] | undefined, sandbox?: string): Interface {
  return {
    name,
    ...(facts?.mac !== undefined && { mac: facts.mac }),
    ...(facts?.mtu !== undefined && { mtu: facts.mtu }),
    ...(sandbox && { sandbox }),
  };
}

/** The links that a plan makes or uses, in its order; the container's is the one with a sandbox. */
function interfacesOf(plan: Plan, facts: Facts, netns: string): Interface[] {
  return plan.flatMap((step) => {
    if (step.kind === 'bridge' || step.kind === 'vlan')
      return [described(step.name, facts[`host/${step.name}`])];
    if (isInsideLink(step)) return [described(step.name, facts[`container/${step.name}`], netns)];
    if (step.kind !== 'veth') return [];
    const { host, inside } = step;
    return [
      described(host.name, facts[`host/${host.name}`]),
      described(inside.name, facts[`container/${inside.name}`], netns),
    ];
  });
}

const isEmpty = (dns: Dns | undefined) => !dns || Object.values(dns).every((value) => value.length === 0);

/** SPEC 1.1, "Success". The configuration's `dns`, where it says anything, wins over IPAM's. */
export function resultOf(
  plan: Plan,
  facts: Facts,
  attachment: Attachment,
  answer: IpamResult,
  dns: Dns | undefined,
): Result {
  const interfaces = interfacesOf(plan, facts, attachment.netns);
  const inside = interfaces.findIndex(({ sandbox }) => sandbox !== undefined);
  return {
    interfaces,
    ips: answer.ips.map((ip) => ({ ...ip, ...(inside >= 0 && { interface: inside }) })),
    routes: answer.routes,
    dns: (isEmpty(dns) ? answer.dns : dns) ?? {},
  };
}

/** A result on top of that of the plugins before: nothing of theirs is lost. */
export function mergeResults(previous: Result | undefined, own: Result): Result {
  if (!previous) return own;
  const shift = previous.interfaces.length;
  const ips = own.ips.map((ip) => ({
    ...ip,
    ...(ip.interface !== undefined && { interface: ip.interface + shift }),
  }));
  return {
    interfaces: [...previous.interfaces, ...own.interfaces],
    ips: [...previous.ips, ...ips],
    routes: [...previous.routes, ...own.routes],
    dns: isEmpty(own.dns) ? previous.dns : own.dns,
  };
}

function insideInterface(previous: Result, ifname: string): number {
  return previous.interfaces.findIndex(({ name, sandbox }) => name === ifname && Boolean(sandbox));
}

/** The addresses of a previous result that belong to the attachment's own link, as IPAM would have given them. */
export function answerFrom(previous: Result, ifname: string): IpamResult {
  const inside = insideInterface(previous, ifname);
  const ips = previous.ips.filter(
    (ip) => ip.interface === undefined || inside < 0 || ip.interface === inside,
  );
  return { ips, routes: previous.routes, dns: previous.dns };
}

/** Who made an attachment: by the host link's name in the previous result. */
export interface Adopted {
  plan: Plan;
  /** Another CNI implementation made it: its host names, and its masquerade rules, are not ours. */
  foreign: boolean;
}

/**
 * The plan with what the previous result says instead of what we would derive: later plugins change MAC and MTU, and another
 * implementation gave other names to the host's end.
 */
export function adopt(plan: Plan, previous: Result | undefined): Adopted {
  if (!previous) return { plan, foreign: false };
  const veth = plan.find((step): step is VethStep => step.kind === 'veth');
  if (!veth) return { plan: plan.map((step) => adoptInside(step, previous)), foreign: false };
  const inside = previous.interfaces[insideInterface(previous, veth.inside.name)];
  const bridges = new Set(plan.flatMap((step) => ('name' in step ? [step.name] : [])));
  const outside = previous.interfaces.filter(({ name, sandbox }) => !sandbox && !bridges.has(name));
  const host =
    outside.find(({ name }) => name === veth.host.name) ?? outside.find(({ name }) => /^veth/.test(name));
  const foreign = host !== undefined && host.name !== veth.host.name;
  const mtu = inside?.mtu ?? veth.mtu;
  const adopted: VethStep = {
    ...veth,
    host: { ...veth.host, ...(host && { name: host.name }), ...(host?.mac && { mac: host.mac }) },
    inside: { ...veth.inside, ...(inside?.mac && { mac: inside.mac }) },
    ...(mtu !== undefined && { mtu }),
  };
  const rename = (step: Step): Step => {
    if (step === veth) return adopted;
    const isOurs = 'dev' in step && step.dev === veth.host.name;
    return isOurs ? { ...step, dev: adopted.host.name } : step;
  };
  return { plan: plan.map(rename), foreign };
}

/** A result without a MAC or an MTU is of an older version: then nothing is known of them. */
function adoptInside(step: Step, previous: Result): Step {
  if (!isInsideLink(step)) return step;
  const { mac: _mac, ...rest } = step;
  const { mac, mtu } = previous.interfaces[insideInterface(previous, step.name)] ?? {};
  return { ...rest, ...(mac && { mac }), ...(mtu && { mtu }) };
}

/** The names of ifbs: packets of the container take a turn through them (bandwidth), they lead nowhere. */
export const REFERENCE_IFB = /^bwp[0-9a-f]{12}$/;
const IFB = /^ifb[a-z2-7]{12}$/;

/** Links of the host that a result names, but for a port of a bridge: packets come and go by the bridge. */
export function hostLinks({ interfaces }: Result): { links: string[]; port: string | undefined } {
  const names = interfaces
    .filter(({ name, sandbox }) => !sandbox && !REFERENCE_IFB.test(name) && !IFB.test(name))
    .map(({ name }) => name);
  return names.length < 2
    ? { links: names, port: undefined }
    : { links: names.slice(0, -1), port: names.at(-1) };
}
