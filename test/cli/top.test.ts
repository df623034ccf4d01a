/** `weft top`: in this process with a screen of the test's own, as a program on a pseudo-terminal, and into a pipe. */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { runWeft } from '../../cli/app.ts';
import { realAmbient } from '../../runtime/ambient.ts';
import { startAgent } from '../support/agent.ts';
import { bridgeConflist, installConflist } from '../support/conflist.ts';
import { type Host, makeHost } from '../support/host.ts';
import { pluginsUnderTest, weftIsMissing } from '../support/plugins.ts';
import { until } from '../support/until.ts';

const BIN = pluginsUnderTest();
const WEFT = join(BIN, 'weft');
const skip = await weftIsMissing();

async function attach(host: Host): Promise<void> {
  const { netns } = await host.container();
  await host.exec(WEFT, ['net', 'add', 'podnet', netns]);
}

async function hostAtWork(t: Parameters<typeof makeHost>[0]): Promise<Host> {
  const host = await makeHost(t);
  await installConflist(host, bridgeConflist({ name: 'podnet' }));
  return host;
}

/** Runs `weft top` here; `shown` grows, `press` types. */
function topHere(t: Parameters<typeof makeHost>[0], host: Host, ...args: string[]) {
  const run = { shown: '', press: (_: string) => {}, keyboard: 'free', ended: Promise.resolve(-1) };
  run.ended = runWeft(['top', ...args], realAmbient(host.env), {
    out: (text) => {
      run.shown += text;
    },
    err: (text) => {
      run.shown += text;
    },
    color: false,
    onInterrupt: () => () => {},
    screen: () => ({
      size: () => ({ columns: 60, rows: 12 }),
      onKey: (handler) => {
        run.press = handler;
        run.keyboard = 'taken';
        return () => {
          run.keyboard = 'released';
        };
      },
    }),
  });
  // Whatever fails: nothing goes on drawing.
  t.teardown(() => run.press('q'));
  return run;
}

/** The last picture, without control sequences. */
const picture = (shown: string) =>
  // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what a terminal is told with
  (shown.split('\x1b[H').at(-1) ?? '').replaceAll(/\x1b\[[?\d]*[A-Za-z]/g, '').split('\r\n');

t.test(
  'a screen is redrawn, over the end of an agent and the start of the next, and left as it was',
  { skip },
  async (t) => {
    const host = await hostAtWork(t);
    const top = topHere(t, host, '--interval', '0.1');
    const sees = (what: string, pattern: RegExp) =>
      until(what, () => pattern.test(picture(top.shown).join('\n')));
    await sees('there is none yet', /no agent runs here/);
    const agent = await startAgent(host, { bin: BIN });
    await sees('it has come', new RegExp(`pid ${agent.pid}, up`));
    await attach(host);
    await sees('a request', /bridge +ADD +\d/);
    for (const line of picture(top.shown)) t.ok(line.length <= 60, 'no wider than the screen');
    t.ok(picture(top.shown).length <= 12, 'no higher than the screen');
    await agent.signal('TERM');
    await sees('it has gone', /no agent runs here/);

    top.press('x');
    t.equal(top.keyboard, 'taken', 'other keys do nothing');
    top.press('q');
    t.equal(await top.ended, 0);
    t.equal(top.keyboard, 'released');
    t.ok(top.shown.startsWith('\x1b[?1049h\x1b[?25l'), 'a buffer of its own');
    t.ok(top.shown.endsWith('\x1b[?25h\x1b[?1049l'), 'and back');
  },
);

t.test('Ctrl-C ends it as well', { skip }, async (t) => {
  const host = await hostAtWork(t);
  const top = topHere(t, host, '--interval', '3600');
  await until('the first picture comes at once', () => top.shown.includes('no agent'));
  top.press('\x03');
  t.equal(await top.ended, 0);
  t.ok(top.shown.endsWith('\x1b[?1049l'));
});

t.test('on a real terminal: its settings are as before', { skip }, async (t) => {
  const host = await hostAtWork(t);
  await startAgent(host, { bin: BIN });
  await attach(host);
  const file = (name: string) => join(host.root, name);
  const script = `stty -a >${file('before')}; ${WEFT} top --interval 0.2; echo $? >${file('status')}; stty -a >${file('after')}`;
  for (const ending of ['q', '\x03', 'TERM']) {
    // script(1) gives its child a terminal, and passes on what is written to it.
    const command = `stty rows 24 cols 100; ${script}`;
    const child = spawn('script', ['-qec', command, '/dev/null'], {
      env: { ...host.env, TERM: 'xterm' },
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    let shown = '';
    child.stdout.on('data', (data: Buffer) => {
      shown += data.toString();
    });
    const ended = new Promise((resolve) => child.once('close', resolve));
    await until('it shows requests', () => /bridge +ADD/.test(shown));
    if (ending === 'TERM') {
      const pid = await childNamed(child.pid ?? 0);
      process.kill(pid, 'SIGTERM');
    } else child.stdin.write(ending);
    await ended;
    t.equal(readFileSync(file('status'), 'utf8').trim(), '0', JSON.stringify(ending));
    t.equal(readFileSync(file('after'), 'utf8'), readFileSync(file('before'), 'utf8'));
    t.match(shown, /\[\?1049h[\s\S]*\[\?1049l/);
  }
});

/** The process of `weft top` below script(1) and its shell. */
async function childNamed(parent: number): Promise<number> {
  return await until('weft top runs', () => {
    let pid = parent;
    for (;;) {
      if (readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('weft-core')) return pid;
      const [child] = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ');
      if (!child) return undefined;
      pid = Number(child);
    }
  });
}

t.test('into a pipe: one picture, or JSON by the line', { skip }, async (t) => {
  const host = await hostAtWork(t);
  const none = await host.exec(WEFT, ['top'], { mayFail: true });
  t.match(none, { status: 1, stdout: '', stderr: /weft: no agent runs here: start one with "weft agent"/ });
  const agent = await startAgent(host, { bin: BIN });
  await attach(host);
  const once = await host.exec(WEFT, ['top', '--interval', '0.1']);
  t.match(once.stdout, new RegExp(`pid ${agent.pid}`));
  t.match(once.stdout, /bridge +ADD +0\.0 +- +- +- +0\.0 +1 +0\n/);
  t.match(once.stdout, /podnet +IPv4 +1 +252\n/);

  // biome-ignore lint/suspicious/noExplicitAny: the program's output, whose shape the assertions are about
  const parsed = (text: string): any[] =>
    text
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line));
  const counted = await host.exec(WEFT, ['top', '--json', '--interval', '0.1', '--count', '2']);
  t.equal(parsed(`${counted.stdout}\n`).length, 2);
  await host.daemon('sampling', WEFT, ['top', '--json', '--interval', '0.2']);
  const sampled = () => parsed(readFileSync(join(host.root, 'sampling.log'), 'utf8'));
  await until('it samples', () => sampled().length > 0);
  await attach(host);
  const samples = await until('the second ADD is seen', () => {
    const all = sampled();
    return all.at(-1)?.verbs.some(({ total }: { total: number }) => total === 2) && all;
  });
  t.match(samples.at(-1), {
    pid: agent.pid,
    underWay: 0,
    verbs: [{ plugin: 'bridge', verb: 'ADD', total: 2, errors: 0 }],
  });
  const used = samples.at(-1).leases.find((one: { family: string }) => one.family === '4');
  t.match(used, { network: 'podnet' });
  for (const { verbs } of samples) {
    for (const { perSecond, p50, p99, kernelP50 } of verbs) {
      if (perSecond > 0) t.ok(kernelP50 <= p50 && p50 <= p99, 'a request has durations');
      else t.equal(p50, undefined);
    }
  }
});
