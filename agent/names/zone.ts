/** What is known of the names of one network, and the answers to questions after them. Pure. */
import type { Answer, DecodedPacket, Question } from 'dns-packet';
import * as dns from 'dns-packet';
import { addressOf, contains, familyOf, parseAddress, parsePrefix } from '../../cni/prefix.ts';
import type { NamesStep } from '../../plan/step.ts';

/** RFC 1035, section 4.1.1. */
const [SERVFAIL, NXDOMAIN] = [2, 3];
/** Seconds: a container that is made anew has another address. */
const TTL = 0;
/** Bytes of a datagram that everybody takes. */
const PLAIN = 512;

export type Known = Pick<NamesStep, 'domain' | 'names' | 'addresses'>;

export class Zone {
  readonly #addresses = new Map<string, Set<string>>();
  readonly #names = new Map<string, string>();
  readonly #domains = new Set<string>();
  readonly #subnets: NonNullable<ReturnType<typeof parsePrefix>>[];

  constructor(all: readonly Known[]) {
    const subnets = new Map<string, ReturnType<typeof parsePrefix>>();
    for (const { domain, names, addresses } of all) {
      const plain = addresses.map(addressOf);
      if (domain !== '') this.#domains.add(domain);
      for (const name of names) {
        for (const full of domain === '' ? [name] : [name, `${name}.${domain}`]) {
          const found = this.#addresses.get(full) ?? new Set();
          for (const address of plain) found.add(address);
          this.#addresses.set(full, found);
        }
      }
      for (const address of plain) {
        const [name] = names;
        if (name !== undefined)
          this.#names.set(reverseOf(address), domain === '' ? name : `${name}.${domain}`);
      }
      for (const address of addresses) subnets.set(address, parsePrefix(address));
    }
    this.#subnets = [...subnets.values()].filter((prefix) => prefix !== undefined);
  }

  /** Whether somebody is of this network; nobody else is answered. */
  mayAsk(address: string): boolean {
    const asking = parseAddress(address);
    return asking !== undefined && this.#subnets.some((subnet) => contains(subnet, asking));
  }

  /** Undefined for what somebody else has to answer. */
  answer(query: DecodedPacket): Uint8Array | undefined {
    const [question] = query.questions ?? [];
    if (query.type !== 'query' || !question || query.questions?.length !== 1) return undefined;
    const name = question.name.toLowerCase().replace(/\.$/, '');
    const pointer = this.#names.get(name);
    if (pointer !== undefined) {
      const answers = question.type === 'PTR' ? [{ ...own(question, 'PTR'), data: pointer }] : [];
      return respond(query, { answers: answers as Answer[] });
    }
    const addresses = this.#addresses.get(name);
    if (addresses === undefined) return this.#isOurs(name) ? respond(query, { rcode: NXDOMAIN }) : undefined;
    const answers = [...addresses].flatMap((data): Answer[] => {
      const type = familyOf(data) === 4 ? 'A' : 'AAAA';
      return question.type === type || String(question.type) === 'ANY'
        ? [{ ...own(question, type), data }]
        : [];
    });
    return respond(query, { answers });
  }

  #isOurs(name: string): boolean {
    return [...this.#domains].some((domain) => name === domain || name.endsWith(`.${domain}`));
  }
}

const own = <T extends 'A' | 'AAAA' | 'PTR'>({ name }: Question, type: T) =>
  ({ name, type, class: 'IN', ttl: TTL }) as const;

function respond(
  { id, questions = [], flags = 0 }: DecodedPacket,
  { answers = [], rcode = 0 }: { answers?: Answer[]; rcode?: number },
): Uint8Array {
  const authority = rcode === SERVFAIL ? 0 : dns.AUTHORITATIVE_ANSWER;
  return dns.encode({
    ...{ type: 'response', id: id ?? 0, questions, answers },
    flags: authority | (flags & dns.RECURSION_DESIRED) | dns.RECURSION_AVAILABLE | rcode,
  });
}

/** The answer of who could ask nobody. */
export const failure = (query: DecodedPacket) => respond(query, { rcode: SERVFAIL });

/** A question; undefined for what is none, which is not answered. */
export function readQuery(bytes: Uint8Array): DecodedPacket | undefined {
  try {
    const packet = dns.decode(Buffer.from(bytes));
    return packet.type === 'query' && packet.questions?.length ? packet : undefined;
  } catch {
    return undefined;
  }
}

/** As a datagram has it: what does not fit is asked for by TCP (RFC 1035, section 4.2.1). */
export function asDatagram(answer: Uint8Array): Uint8Array {
  if (answer.length <= PLAIN) return answer;
  const { id, questions = [], flags = 0 } = dns.decode(Buffer.from(answer));
  return dns.encode({ type: 'response', id: id ?? 0, questions, flags: flags | dns.TRUNCATED_RESPONSE });
}

/** RFC 1035, section 3.5; RFC 3596, section 2.5. */
function reverseOf(address: string): string {
  if (familyOf(address) === 4) return `${address.split('.').reverse().join('.')}.in-addr.arpa`;
  const digits = (parseAddress(address)?.value ?? 0n).toString(16).padStart(32, '0');
  return `${[...digits].reverse().join('.')}.ip6.arpa`;
}
