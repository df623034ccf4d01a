/** What is known of the names of one network, and the answers to questions after them. Pure. */
import type { Answer, DecodedPacket, Question } from 'dns-packet';
import * as dns from 'dns-packet';
import { addressOf, contains, familyOf, networkOf, parseAddress, parsePrefix } from '../../cni/prefix.ts';
import type { NamesStep } from '../../plan/step.ts';

/** RFC 1035, section 4.1.1. */
const [SERVFAIL, NXDOMAIN] = [2, 3];
/** Seconds: a container that is made anew has another address. */
const TTL = 0;
/** Bytes of a datagram that everybody takes. */
const PLAIN = 512;

export type Known = Pick<NamesStep, 'domain' | 'names' | 'addresses'>;

/** Values by key, each with how many want it: what comes and goes costs the same however much is there. */
class Counted {
  readonly #values = new Map<string, Map<string, number>>();

  get(key: string): string[] | undefined {
    const found = this.#values.get(key);
    return found && [...found.keys()];
  }

  keys(): Iterable<string> {
    return this.#values.keys();
  }

  change(key: string, value: string, by: 1 | -1): void {
    const found = this.#values.get(key) ?? new Map<string, number>();
    const count = (found.get(value) ?? 0) + by;
    if (count > 0) found.set(value, count);
    else found.delete(value);
    if (found.size > 0) this.#values.set(key, found);
    else this.#values.delete(key);
  }
}

export class Zone {
  readonly #addresses = new Counted();
  readonly #names = new Counted();
  readonly #domains = new Counted();
  readonly #subnets = new Counted();
  #size = 0;

  /** Containers. */
  get size(): number {
    return this.#size;
  }

  add(known: Known): this {
    return this.#change(known, 1);
  }

  remove(known: Known): this {
    return this.#change(known, -1);
  }

  #change({ domain, names, addresses }: Known, by: 1 | -1): this {
    const full = (name: string) => (domain === '' ? name : `${name}.${domain}`);
    this.#size += by;
    if (domain !== '') this.#domains.change(domain, '', by);
    for (const cidr of addresses) {
      const address = addressOf(cidr);
      const [first] = names;
      this.#subnets.change(networkOf(cidr), '', by);
      if (first !== undefined) this.#names.change(reverseOf(address), full(first), by);
      for (const name of names.flatMap((one) => [...new Set([one, full(one)])])) {
        this.#addresses.change(name, address, by);
      }
    }
    return this;
  }

  /** Whether somebody is of this network; nobody else is answered. */
  mayAsk(address: string): boolean {
    const asking = parseAddress(address);
    const isIn = (subnet: string) => {
      const prefix = parsePrefix(subnet);
      return asking !== undefined && prefix !== undefined && contains(prefix, asking);
    };
    return [...this.#subnets.keys()].some(isIn);
  }

  /** Undefined for what somebody else has to answer. */
  answer(query: DecodedPacket): Uint8Array | undefined {
    const [question] = query.questions ?? [];
    if (query.type !== 'query' || !question || query.questions?.length !== 1) return undefined;
    const name = question.name.toLowerCase().replace(/\.$/, '');
    const pointers = this.#names.get(name);
    if (pointers !== undefined) {
      const asked = question.type === 'PTR' ? pointers : [];
      return respond(query, { answers: asked.map((data) => ({ ...own(question, 'PTR'), data })) });
    }
    const addresses = this.#addresses.get(name);
    if (addresses === undefined) return this.#isOurs(name) ? respond(query, { rcode: NXDOMAIN }) : undefined;
    const answers = addresses.flatMap((data): Answer[] => {
      const type = familyOf(data) === 4 ? 'A' : 'AAAA';
      return question.type === type || String(question.type) === 'ANY'
        ? [{ ...own(question, type), data }]
        : [];
    });
    return respond(query, { answers });
  }

  #isOurs(name: string): boolean {
    return [...this.#domains.keys()].some((domain) => name === domain || name.endsWith(`.${domain}`));
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
