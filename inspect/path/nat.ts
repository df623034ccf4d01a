/** What address translation does to the first packet of a conversation (net/netfilter/nf_nat_core.c, nf_nat_masquerade.c). */
import type { Element, Statement } from '../ruleset/model.ts';
import { valueWords } from '../ruleset/words.ts';
import type { HookView } from './fields.ts';
import { endWords, type Packet, reversed } from './packet.ts';
import { addressOn, lookUp } from './routing.ts';
import { STATUS, translated, withDestination, withSource } from './tracking.ts';
import type { Walk } from './world.ts';

type Rewrite = Extract<Statement, { kind: 'dnat' | 'snat' | 'masquerade' | 'redirect' }>;

interface Target {
  address?: string | undefined;
  port?: number | undefined;
}

/**
 * The packet with its new address, which its conversation remembers; undefined where the statement does nothing: the packet has no
 * conversation, or nobody can say what the new address is.
 */
export function rewrite(
  walk: Walk,
  view: HookView,
  statement: Rewrite,
  element: Element | undefined,
): { packet: Packet; words: string } | undefined {
  const { packet } = view;
  const entry = packet.tracked?.entry;
  if (entry === undefined) return undefined;
  const target = targetOf(walk, view, statement, element);
  if (target === undefined || (target.address === undefined && target.port === undefined)) return undefined;
  const end = statement.kind === 'dnat' || statement.kind === 'redirect' ? 'destination' : 'source';
  const { tuple } = packet;
  const changed =
    end === 'destination'
      ? withDestination(tuple, target.address ?? tuple.destination, target.port)
      : withSource(tuple, target.address ?? tuple.source, target.port);
  // Answers come from the new destination, or go to the new source.
  entry.reply = reversed(changed);
  entry.status |= end === 'destination' ? STATUS.dnat : STATUS.snat;
  entry.asked[end] = true;
  const words =
    end === 'destination'
      ? endWords(changed.destination, changed.destinationPort)
      : endWords(changed.source, target.port);
  return { packet: { ...packet, tuple: changed }, words: `${statement.kind} to ${words}` };
}

function targetOf(
  walk: Walk,
  view: HookView,
  statement: Rewrite,
  element: Element | undefined,
): Target | undefined {
  const { tuple } = view.packet;
  const port = 'port' in statement ? firstNumber(statement.port) : undefined;
  if (statement.kind === 'masquerade') {
    const { route } = lookUp(view.snapshot, { tuple, ...(view.oif && { oif: view.oif.name }) });
    const address = addressOn(view.snapshot, view.oif?.index, route?.gateway ?? tuple.destination);
    return { address, port };
  }
  if (statement.kind === 'redirect') {
    const loopback = tuple.family === 4 ? '127.0.0.1' : '::1';
    const address =
      view.hook === 'output' ? loopback : addressOn(view.snapshot, view.iif?.index, tuple.source);
    return { address, port };
  }
  if (statement.kind !== 'dnat' && statement.kind !== 'snat') return undefined;
  if (element !== undefined) return { ...elementTarget(element), ...(port === undefined ? {} : { port }) };
  const address = statement.address?.replace(/^\[|\]$/g, '');
  if (address !== undefined && /[-/]/.test(address)) {
    const [first] = address.split(/[-/]/);
    walk.assumptions.add(`${statement.kind} takes the first address of ${address}`);
    return { address: first, port };
  }
  return { address, port };
}

function elementTarget({ data }: Element): Target {
  if (data === undefined) return {};
  const parts = 'parts' in data ? data.parts : [data];
  const [address, port] = parts.map(valueWords);
  // A map from ports to ports only.
  if (port === undefined && address !== undefined && /^\d+$/.test(address)) return { port: Number(address) };
  return { address, port: firstNumber(port) };
}

/** Of a range the kernel takes one; the first is as good as any. */
function firstNumber(text: string | undefined): number | undefined {
  const digits = /^\d+/.exec(text ?? '')?.[0];
  return digits === undefined ? undefined : Number(digits);
}

/** The packet as its conversation has it behind this hook, where no rule has to be asked any more. */
export function asTranslated(packet: Packet, end: 'source' | 'destination'): Packet {
  return { ...packet, tuple: translated(packet, end) };
}
