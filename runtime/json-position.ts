/**
 * Where a text stops being JSON (RFC 8259). JSON.parse says it in words that change with every version of V8, often without
 * a position; this is only run after it has failed, to say line and column.
 */
export interface JsonFault {
  /** From 1. */
  line: number;
  column: number;
  /** `expected "," or "}", found "]"`. */
  message: string;
}

/** The first syntax error of a text, or undefined when it is JSON. */
export function findJsonFault(text: string): JsonFault | undefined {
  const scanner = new Scanner(text);
  try {
    scanner.document();
    return undefined;
  } catch (fault) {
    if (!(fault instanceof Unexpected)) throw fault;
    const before = text.slice(0, fault.at).split('\n');
    return { line: before.length, column: (before.at(-1)?.length ?? 0) + 1, message: fault.message };
  }
}

class Unexpected extends Error {
  readonly at: number;
  constructor(at: number, wanted: string, text: string) {
    const [char] = text.slice(at);
    super(`expected ${wanted}, found ${char === undefined ? 'the end of the text' : JSON.stringify(char)}`);
    this.at = at;
  }
}

const LITERAL = /true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
// biome-ignore lint/suspicious/noControlCharactersInRegex: RFC 8259 forbids them in strings
const STRING = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*/y;
/** Deeper than any configuration; a guard for the stack. */
const MAX_DEPTH = 500;

class Scanner {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  document(): void {
    this.#value(0);
    if (this.#peek() !== undefined) this.#fail('the end of the text');
  }

  #value(depth: number): void {
    if (depth > MAX_DEPTH) this.#fail('less nesting');
    const char = this.#peek();
    if (char === '{') this.#members('}', () => this.#member(depth));
    else if (char === '[') this.#members(']', () => this.#value(depth + 1));
    else if (char === '"') this.#string();
    else if (!this.#match(LITERAL)) this.#fail('a value');
  }

  #member(depth: number): void {
    if (this.#peek() !== '"') this.#fail('a key in double quotes');
    this.#string();
    if (this.#peek() !== ':') this.#fail('":"');
    this.#at++;
    this.#value(depth + 1);
  }

  #members(close: string, member: () => void): void {
    this.#at++;
    if (this.#peek() === close) {
      this.#at++;
      return;
    }
    for (;;) {
      member();
      const char = this.#peek();
      if (char !== ',' && char !== close) this.#fail(`"," or "${close}"`);
      this.#at++;
      if (char === close) return;
    }
  }

  #string(): void {
    this.#match(STRING);
    if (this.#text[this.#at] !== '"') this.#fail('the rest of a string and its closing quote');
    this.#at++;
  }

  #match(pattern: RegExp): boolean {
    pattern.lastIndex = this.#at;
    if (!pattern.test(this.#text)) return false;
    this.#at = pattern.lastIndex;
    return true;
  }

  /** The next character that is not white space. */
  #peek(): string | undefined {
    while (/[ \t\n\r]/.test(this.#text[this.#at] ?? '')) this.#at++;
    return this.#text[this.#at];
  }

  #fail(wanted: string): never {
    throw new Unexpected(this.#at, wanted, this.#text);
  }
}
