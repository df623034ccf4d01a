/**
 * What weft-monitor does to make a container, as data: the steps that runtime/native knows, in the order in which they are
 * run. Before `clone` they are the monitor's, after it the container's first process's.
 */

/** A step: its name and its arguments. Numbers travel as decimal text. */
export type Step = readonly [name: string, ...words: (string | number | Uint8Array)[]];

/** monitor.h: Step::kMost. */
const MOST_WORDS = 65_535;

const bytesOf = (word: string | number | Uint8Array): Uint8Array =>
  word instanceof Uint8Array ? word : Buffer.from(String(word));

/**
 * The list as weft-monitor reads it: for each step a 16-bit count of words, for each word its 32-bit length, its bytes, a NUL.
 * Throws RangeError for a step with too many words, TypeError for text with a NUL in it.
 */
export function encodeSteps(steps: readonly Step[]): Buffer {
  const parts: Uint8Array[] = [];
  for (const step of steps) {
    if (step.length > MOST_WORDS) {
      throw new RangeError(`"${step[0]}" has ${step.length} words: at most ${MOST_WORDS} are possible`);
    }
    const count = Buffer.alloc(2);
    count.writeUInt16LE(step.length);
    parts.push(count);
    for (const word of step) {
      const bytes = bytesOf(word);
      if (typeof word === 'string' && bytes.includes(0)) {
        throw new TypeError(`"${step[0]} ${word.replaceAll('\0', '\\0')}" contains a NUL byte`);
      }
      const length = Buffer.alloc(4);
      length.writeUInt32LE(bytes.length);
      parts.push(length, bytes, Buffer.alloc(1));
    }
  }
  return Buffer.concat(parts);
}

/** Words of a list that was encoded, as text. Throws RangeError where it is cut off. */
export function decodeSteps(bytes: Buffer): Step[] {
  const steps: Step[] = [];
  for (let at = 0; at < bytes.length; ) {
    const words: string[] = [];
    const count = bytes.readUInt16LE(at);
    at += 2;
    for (let word = 0; word < count; word++) {
      const length = bytes.readUInt32LE(at);
      words.push(bytes.toString('utf8', at + 4, at + 4 + length));
      at += 4 + length + 1;
    }
    const [name = '', ...rest] = words;
    steps.push([name, ...rest]);
  }
  return steps;
}

/** For people: the words, quoted where a shell would need it; bytes by their number. */
export function renderStep(step: Step): string {
  return step
    .map((word) => {
      if (word instanceof Uint8Array) return `<${word.length} bytes>`;
      const text = String(word);
      return /^[\w@%+=:,./-]+$/.test(text) ? text : JSON.stringify(text);
    })
    .join(' ');
}
