/**
 * What weft-monitor does to make a container, as data: the steps that runtime/native knows, in the order in which they are
 * run. Before `clone` they are the monitor's, after it the container's first process's.
 */

/** A step: its name and its arguments. Numbers travel as decimal text. */
export type Step = readonly [name: string, ...words: (string | number | Uint8Array)[]];

/** program.cc: Step::kMost. */
const MOST_WORDS = 2048;

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
