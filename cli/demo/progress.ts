/** What a demonstration prints as it goes. */
import colours from 'picocolors';
import type { Terminal } from '../terminal.ts';

export class Progress {
  readonly #terminal: Terminal;
  readonly #paint: ReturnType<typeof colours.createColors>;
  #passed = 0;
  #failed = 0;

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
    this.#paint = colours.createColors(terminal.color);
  }

  get passed(): number {
    return this.#passed;
  }

  get failed(): number {
    return this.#failed;
  }

  title(text: string): void {
    this.#terminal.out(`\n${this.#paint.bold(text)}\n`);
  }

  line(text: string): void {
    this.#terminal.out(`${text}\n`);
  }

  /** What a program, or a person, would write: commands, tables. */
  quote(lines: readonly string[]): void {
    for (const line of lines) this.#terminal.out(line === '' ? '\n' : `  ${this.#paint.dim(line)}\n`);
  }

  /** One thing that must be so. */
  check(good: boolean, what: string, detail = ''): void {
    if (good) this.#passed += 1;
    else this.#failed += 1;
    const mark = good ? this.#paint.green('✓') : this.#paint.red('✗');
    this.#terminal.out(`${mark} ${what}${detail === '' ? '' : `  ${this.#paint.dim(detail)}`}\n`);
  }
}
