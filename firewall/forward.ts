/**
 * Lets containers' packets through, and keeps networks apart. What keeps apart stands in a table of ours (forward-ruleset.ts), since a drop
 * counts wherever it is; what lets through has to stand where this host drops: in iptables (forward-iptables.ts), in a zone of firewalld's
 * (firewalld.ts), or nowhere (forward-places.ts).
 */
import type { Ambient } from '../cni/ambient.ts';
import { CniError, ErrorCode } from '../cni/errors.ts';
import type { AttachmentId } from '../cni/types.ts';
import type { Namespace } from '../netlink/door.ts';
import type { Source } from './address.ts';
import { type Firewalld, firewalld, sourceWords } from './firewalld.ts';
import { iptablesForward } from './forward-iptables.ts';
import { nftablesForward } from './forward-nftables.ts';
import { type ForwardPlaces, forwarding, placesFor } from './forward-places.ts';

/** One attachment, and who may reach it. */
export interface Admission extends AttachmentId {
  network: string;
  /** Canonical, without prefix length. */
  addresses: readonly Source[];
  /** Other bridges of a policy than `open` do not reach this one; `isolated`: nor do its own containers each other. */
  policy: 'open' | 'same-bridge' | 'isolated';
  /** The link of the host that the policy is about. */
  link?: string;
  /** All of it by these rules; absent: what this host needs. */
  rules?: 'nftables' | 'iptables';
  /** iptables: the administrator's chain, whose rules come before ours; made if missing. */
  adminChain: string;
  /** firewalld's zone that the addresses are sources of, while firewalld runs; absent: none. */
  zone?: string;
  /** What fails where this host cannot do it; of the rest there is then nothing that would have to be let through. */
  required?: 'rules' | 'zone';
}

/** What DEL knows. */
export type Withdrawal = Pick<Admission, keyof AttachmentId | 'network' | 'addresses' | 'link' | 'zone'>;

/** One of the places where forwarding is decided. */
export interface ForwardPart {
  /** Idempotent, and whatever was admitted. */
  withdraw(of: Withdrawal): Promise<void>;
  /** For each of the admissions, one line per missing thing. */
  missing(admissions: readonly Admission[]): Promise<string[][]>;
  /** Removes what belongs to none of the network's valid attachments; returns what it removed, readable. */
  collect(network: string, valid: readonly AttachmentId[]): Promise<string[]>;
}

/** withdraw() takes away what the reference let through of these addresses, too, and out of the zone what nobody's mark tells of. */
export interface ForwardRules extends ForwardPart {
  /** Idempotent. Throws CniError. */
  admit(admission: Admission): Promise<void>;
  /** Whether the reference lets all of these addresses through. */
  madeByReference(admission: Pick<Admission, 'addresses' | 'zone'>): Promise<boolean>;
  /** Throws CniError(notAvailable) where admit() would fail. */
  probe(wanted: Pick<Admission, 'rules' | 'required'>): Promise<void>;
}

/** Opens nothing and changes nothing; `host` and `ambient` are used by the methods. */
export function forwardRules(host: Namespace, ambient: Ambient): ForwardRules {
  const zones = firewalld(ambient);
  const nft = nftablesForward(host, ambient, zones);
  const iptables = iptablesForward(host, ambient);
  return {
    async admit(admission) {
      const places = placesFor(await forwarding(host, ambient), admission);
      if (places.problem !== undefined) throw new CniError(ErrorCode.program, places.problem);
      const zoned = places.firewalld && (await bind(zones, admission));
      if (places.nftables) await nft.admit(admission, zoned);
      await iptables.admit(admission, places.iptables);
    },
    async withdraw(of) {
      const unknown = await nft.withdraw(of);
      await iptables.withdraw(of);
      if (of.zone === undefined || unknown.length === 0) return;
      if (!(await forwarding(host, ambient)).firewalld) return;
      // The reference's; or ours, whose mark somebody flushed.
      await Promise.all(
        unknown.map((address) => zones.release(address, { zone: of.zone, elsewhere: false })),
      );
    },
    async missing(admissions) {
      const found = await forwarding(host, ambient);
      const all = admissions.map((admission) => ({ admission, ...placesFor(found, admission) }));
      const byNft = all.filter(({ nftables }) => nftables);
      const byZone = all.filter(({ firewalld: runs }) => runs);
      const parts = [
        together(byNft, await nft.missing(byNft.map(({ admission }) => admission))),
        together(all, await iptables.missing(all.map((one) => ({ ...one, places: one.iptables })))),
        together(byZone, await unbound(zones, byZone)),
      ];
      return all.map((one) => [
        ...(one.problem === undefined ? [] : [one.problem]),
        ...parts.flatMap((part) => part.get(one) ?? []),
      ]);
    },
    async madeByReference({ addresses, zone }) {
      if (addresses.length === 0) return false;
      if (await iptables.madeByReference(addresses)) return true;
      if (zone === undefined || !(await forwarding(host, ambient)).firewalld) return false;
      const sources = await zones.sources(zone);
      return addresses.every((address) => sources?.includes(sourceWords(address)));
    },
    async collect(network, valid) {
      const removed = [await nft.collect(network, valid), await iptables.collect(network, valid)];
      return [...new Set(removed.flat())];
    },
    async probe(wanted) {
      const addresses = ([4, 6] as const).map((family) => ({ family, address: '' }));
      const { problem } = placesFor(await forwarding(host, ambient), { ...wanted, addresses });
      if (problem !== undefined) throw new CniError(ErrorCode.notAvailable, problem);
      if (wanted.required === 'zone' && !(await zones.runs())) throw notRunning(ErrorCode.notAvailable);
    },
  };
}

const together = <K, V>(keys: readonly K[], values: readonly V[]) =>
  new Map(keys.flatMap((key, i) => (values[i] === undefined ? [] : [[key, values[i]] as const])));

const NOT_RUNNING =
  'backend is firewalld, which does not answer on the system bus: start it (systemctl start firewalld), or set "backend": ""';
const notRunning = (code: number) => new CniError(code, NOT_RUNNING);

/** False where firewalld does not run and need not. */
async function bind(zones: Firewalld, { zone, addresses, required }: Admission): Promise<boolean> {
  if (zone === undefined) return false;
  const bound = await Promise.all(addresses.map((address) => zones.bind(zone, address)));
  if (!bound.includes(false)) return true;
  if (required === 'zone') throw notRunning(ErrorCode.program);
  return false;
}

type Zoned = ForwardPlaces & { admission: Admission };

/** What firewalld has forgotten; each zone asked once. */
async function unbound(zones: Firewalld, all: readonly Zoned[]): Promise<string[][]> {
  const asked = new Map<string, Promise<string[] | undefined>>();
  const lines: string[][] = [];
  for (const { admission } of all) {
    const { zone = '', addresses, required } = admission;
    const sources = asked.get(zone) ?? zones.sources(zone);
    asked.set(zone, sources);
    const present = await sources;
    const absent = addresses.map(sourceWords).filter((source) => !present?.includes(source));
    if (present !== undefined)
      lines.push(absent.map((source) => `source ${source} of zone ${zone} of firewalld`));
    else lines.push(required === 'zone' ? [NOT_RUNNING] : []);
  }
  return lines;
}
