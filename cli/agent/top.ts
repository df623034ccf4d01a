/** `weft top` */
import { CniError, ErrorCode } from '../../cni/errors.ts';
import type { WeftContext } from '../context.ts';
import type { Screen, Terminal } from '../terminal.ts';
import { type Load, type Look, loadBetween } from './load.ts';
import { type Scraped, scrape } from './scrape.ts';
import { loadLines } from './top-view.ts';

export interface TopFlags {
  /** Seconds. */
  interval: number;
  count?: number;
  json?: boolean;
}

/** Another buffer without cursor, and back (xterm's control sequences, DECSET 1049 and 25). */
const ENTER = '\x1b[?1049h\x1b[?25l';
const LEAVE = '\x1b[?25h\x1b[?1049l';
/** Cursor home; erase to the end of the line; erase below (ECMA-48: CUP, EL, ED). Nothing is blank in between, so nothing flickers. */
const HOME = '\x1b[H';
const REST_OF_LINE = '\x1b[K';
const BELOW = '\x1b[J';
/** q, Q, Ctrl-C, Ctrl-D. */
const ENDING_KEYS = ['q', 'Q', '\x03', '\x04'];

const WHY: Readonly<Record<Exclude<Scraped['state'], 'running'>, string>> = {
  absent: 'no agent runs here: start one with "weft agent"',
  dead: 'the agent has ended without cleaning up: start it again',
  silent: 'the agent does not answer',
  forbidden: "the agent's socket is root's alone: run as root",
};

export async function top(this: WeftContext, flags: TopFlags): Promise<Error | undefined> {
  const end = new Ending();
  const restore = this.terminal.onInterrupt(() => end.now());
  try {
    const screen = flags.json ? undefined : this.terminal.screen?.();
    if (screen) return await live(this, flags, screen, end);
    return await samples(this, { ...flags, count: flags.count ?? (flags.json ? Infinity : 1) }, end);
  } finally {
    restore();
  }
}

/** Says when it is enough, and lets nobody sleep longer. */
class Ending {
  over = false;
  #wake: (() => void) | undefined;

  now(): void {
    this.over = true;
    this.#wake?.();
  }

  sleep(milliseconds: number): Promise<void> {
    if (this.over) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

async function look({ ambient }: WeftContext): Promise<Look | Exclude<Scraped['state'], 'running'>> {
  const scraped = await scrape(ambient.paths.runDir);
  return scraped.state === 'running' ? { at: performance.now(), samples: scraped.samples } : scraped.state;
}

/** As many samples as wanted, one after the other, for a pipe. */
async function samples(
  context: WeftContext,
  { interval, count = 1, json }: TopFlags,
  end: Ending,
): Promise<Error | undefined> {
  const { terminal, ambient } = context;
  let before = await look(context);
  for (let n = 0; n < count && !end.over; n++) {
    if (typeof before === 'string') return new CniError(ErrorCode.notAvailable, WHY[before]);
    await end.sleep(interval * 1000);
    const after = await look(context);
    if (typeof after === 'string') return new CniError(ErrorCode.notAvailable, WHY[after]);
    const load = loadBetween(before, after, ambient.now() / 1000);
    terminal.out(json ? `${JSON.stringify({ time: ambient.now() / 1000, ...load })}\n` : text(load));
    before = after;
  }
  return undefined;
}

const text = (load: Load) => `${loadLines(load).join('\n')}\n`;

/** Redraws until a key or a signal ends it, also over a restart of the agent. */
async function live(
  context: WeftContext,
  { interval, count = Infinity }: TopFlags,
  screen: Screen,
  end: Ending,
): Promise<undefined> {
  const { terminal, ambient } = context;
  const release = screen.onKey((key) => {
    if (ENDING_KEYS.includes(key)) end.now();
  });
  terminal.out(ENTER);
  try {
    let before = await look(context);
    // The first picture comes at once, over the time since the agent started.
    draw(
      terminal,
      screen,
      interval,
      typeof before === 'string' ? before : sinceStart(before, ambient.now() / 1000),
    );
    for (let n = 0; n < count && !end.over; n++) {
      await end.sleep(interval * 1000);
      if (end.over) break;
      const after = await look(context);
      const both = typeof before !== 'string' && typeof after !== 'string';
      const load = both ? loadBetween(before as Look, after as Look, ambient.now() / 1000) : undefined;
      draw(
        terminal,
        screen,
        interval,
        load ?? (typeof after === 'string' ? after : sinceStart(after, ambient.now() / 1000)),
      );
      before = after;
    }
  } finally {
    terminal.out(LEAVE);
    release();
  }
}

function sinceStart(after: Look, now: number): Load {
  const { uptime } = loadBetween(after, after, now);
  return loadBetween({ at: after.at - uptime * 1000, samples: [] }, after, now);
}

function draw(
  terminal: Terminal,
  screen: Screen,
  interval: number,
  shown: Load | Exclude<Scraped['state'], 'running'>,
): void {
  const { columns, rows } = screen.size();
  const body = typeof shown === 'string' ? [WHY[shown]] : loadLines(shown);
  const all = [...body.slice(0, rows - 2), '', `every ${interval} s; q ends`];
  const lines = all.map((line) => line.slice(0, columns) + REST_OF_LINE);
  terminal.out(`${HOME}${lines.join('\r\n')}${BELOW}`);
}
