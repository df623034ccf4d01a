/** Configurations as they were decoded: a runtime sends the same text with every ADD to a network. */
import { type DecodedConf, decodeConf } from '../cni/netconf.ts';

/** Texts; and the longest of them in UTF-16 units. */
const MOST = 32;
const LONGEST = 16 * 1024;

export class KnownConfigurations {
  readonly #known = new Map<object, Map<string, DecodedConf>>();

  /** As decodeConf. What it returns is shared, and frozen. */
  decode(input: string, schema: object): DecodedConf {
    // A text with a previous result is that of one container.
    if (input.length > LONGEST || input.includes('"prevResult"')) return decodeConf(input, schema);
    const ofSchema = this.#known.get(schema) ?? new Map<string, DecodedConf>();
    this.#known.set(schema, ofSchema);
    const known = ofSchema.get(input);
    if (known !== undefined) return known;
    const decoded = decodeConf(input, schema);
    if (decoded.conf === undefined) return decoded;
    const [oldest] = ofSchema.keys();
    if (ofSchema.size >= MOST && oldest !== undefined) ofSchema.delete(oldest);
    ofSchema.set(input, freeze(decoded));
    return decoded;
  }
}

function freeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value;
  for (const inner of Object.values(value)) freeze(inner);
  return Object.freeze(value);
}
