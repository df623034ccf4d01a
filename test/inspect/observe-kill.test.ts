/** Nothing is left behind by an observation, also when it is killed in the middle. */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { exec, execIn, ip, makeHost } from '../support/host.ts';
import { until } from '../support/until.ts';

/** In a mount namespace of its own, as nobody may have mounted it. */
const tracefs = async (command: string) => {
  const script = `mount -t tracefs tracefs /mnt && cd /mnt/instances && ${command}`;
  return (await exec('unshare', ['--mount', '--propagation', 'private', 'sh', '-c', script])).stdout.split(
    '\n',
  );
};

t.test('killed in the middle', async (t) => {
  const host = await makeHost(t);
  await execIn(host.netns, 'iptables-legacy', ['-A', 'INPUT', '-p', 'udp', '--dport', '9', '-j', 'DROP']);
  const tables = async () => (await execIn(host.netns, 'nft', ['-j', 'list', 'tables'])).stdout;
  const logger = async () => (await execIn(host.netns, 'sysctl', ['-n', 'net.netfilter.nf_log.2'])).stdout;
  const before = { logger: await logger(), links: (await ip(host.netns, 'link')).length };
  // Left by one that was killed together with its guard.
  const stale = `weft-trace-0-${process.pid}`;
  await tracefs(`mkdir ${stale}`);
  const file = fileURLToPath(new URL('observe-child.ts', import.meta.url));
  const child = spawn(process.execPath, ['--import=tsx', file, host.netns], { stdio: 'ignore' });
  const ended = new Promise((resolve) => child.once('exit', resolve));
  t.teardown(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  const instances = async () => {
    const own = (name: string) => name.startsWith(`weft-trace-${child.pid}-`) || name === stale;
    return (await tracefs('ls')).filter(own);
  };
  await until('it is at work', async () => {
    const [name, ...others] = await instances();
    return name !== undefined && others.length === 0 && name !== stale;
  });
  await until('its table is there', async () => (await tables()).includes(`weft-trace-${child.pid}`));
  t.match(await tables(), /"family": "inet", "name": "weft-trace-\d+-\d+"/);
  t.match(await logger(), 'nfnetlink_log');
  child.kill('SIGKILL');
  await ended;
  await until('its table is gone', async () => !(await tables()).includes('weft-trace'));
  await until('its tracing is gone', async () => (await instances()).length === 0);
  await until('the log is as it was', async () => (await logger()) === before.logger);
  t.equal((await ip(host.netns, 'link')).length, before.links);
});
