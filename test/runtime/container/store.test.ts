/** What is known of a container while its monitor, its maker and its remover are at work: in the middle of a look at it. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { realAmbient } from '../../../runtime/ambient.ts';
import type { ContainerSpec } from '../../../runtime/container/spec.ts';
import { abandoned, forget, stateOf } from '../../../runtime/container/store.ts';
import { until } from '../../support/until.ts';

const ambient = realAmbient({ WEFT_RUN_DIR: t.testdir() });
const all = join(ambient.paths.runDir, 'containers');

function container(id: string): string {
  const folder = join(all, id);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'spec.json'), JSON.stringify({ id, name: id, created: 1 } as ContainerSpec));
  return folder;
}

/** It ends with this test: at the latest, when its standard input does. */
function child(t: Test, file: string, ...args: string[]): ChildProcess {
  const started = spawn(file, args, { stdio: ['pipe', 'ignore', 'ignore'] });
  t.teardown(() => void started.kill('SIGKILL'));
  return started;
}

/** Who reads the file `status` gets the first text, and it has become the second when he has read it. */
function changing(t: Test, folder: string, first: object, second: object, meanwhile = ''): void {
  execFileSync('mkfifo', [join(folder, 'status')]);
  writeFileSync(join(folder, 'second'), JSON.stringify(second));
  const script = `cd "$1"; exec 3>status; echo "$2" >&3; mv second status; ${meanwhile}`;
  child(t, 'sh', '-c', script, 'sh', folder, JSON.stringify(first));
}

/** Its command line is that of a monitor. */
const monitorOf = (t: Test, folder: string) => Number(child(t, 'tee', folder).pid);

t.afterEach(() => rmSync(all, { recursive: true }));

t.test('a monitor that ends after its state was read', (t) => {
  const folder = container('ends');
  const started = { monitor: 0x7fffffff, started: 7 };
  changing(t, folder, { ...started, phase: 'running', pid: 1 }, { ...started, phase: 'stopped', status: 3 });
  t.same(stateOf({ folder }), { phase: 'stopped', started: 7, status: 3 });
  writeFileSync(join(folder, 'status'), JSON.stringify({ ...started, phase: 'running', pid: 1 }));
  t.same(stateOf({ folder }), { phase: 'broken', started: 7 });
  t.end();
});

t.test('a container that is made while it is looked at is not abandoned', async (t) => {
  const folder = container('made');
  const monitor = monitorOf(t, folder);
  const locked = `touch '${folder}/locked'; read line`;
  const maker = child(t, 'flock', '--no-fork', join(folder, 'making'), 'sh', '-c', locked);
  await until('it is being made', () => existsSync(join(folder, 'locked')));
  // Who reads the state finds none, and when he has, there is one and nobody makes it any more.
  changing(
    t,
    folder,
    {},
    { phase: 'running', pid: 1, monitor, started: 7 },
    `kill ${maker.pid}; flock making true`,
  );
  t.notOk((await abandoned(ambient, () => ['made'])).includes('made'));
});

t.test('a container that goes while it is looked for is not abandoned', async (t) => {
  const folder = container('going');
  writeFileSync(join(folder, 'status'), JSON.stringify({ phase: 'stopped', started: 7, status: 0 }));
  let gone: Promise<void> | undefined;
  const looked = await abandoned(ambient, () => {
    gone = forget(ambient, 'going');
    return ['going', 'lost'];
  });
  t.notOk(looked.includes('going'));
  t.ok(looked.includes('lost'));
  await gone;
  t.notOk(existsSync(folder));
});
