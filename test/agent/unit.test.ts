/** The systemd unit: it is installed, systemd understands it, the agent keeps to what it may, and tells systemd what systemd wants to know. */
import { cp, readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import t from 'tap';
import { startAgent } from '../support/agent.ts';
import { exec, leases, makeHost } from '../support/host.ts';
import { until } from '../support/until.ts';
import { BIN, NETWORK, ok, served } from './support.ts';

const root = resolve(import.meta.dirname, '../..');
const UNIT = join(root, 'contrib/systemd/weft-agent.service');

/** The words of a setting of the unit. */
async function setting(name: string): Promise<string[]> {
  const line = (await readFile(UNIT, 'utf8')).split('\n').find((one) => one.startsWith(`${name}=`));
  if (line === undefined) throw new Error(`the unit has no ${name}=`);
  return line.slice(name.length + 1).split(' ');
}

t.test(
  'make install puts it where it is asked to, systemd understands it, make uninstall takes it away',
  async (t) => {
    const place = t.testdir();
    const folders = ['BINDIR=/opt/elsewhere', 'SBINDIR=/usr/sbin', 'UNITDIR=/lib/systemd/system'];
    // Not built again: other tests use what is there.
    const make = (target: string) =>
      exec('make', ['-s', '-o', 'build', '-C', root, target, `DESTDIR=${place}`, ...folders]);
    await make('install');
    const unit = await readFile(join(place, 'lib/systemd/system/weft-agent.service'), 'utf8');
    t.match(unit, /^ExecStart=\/opt\/elsewhere\/weft agent$/m);
    const verify = await exec('systemd-analyze', ['verify', `--root=${place}`, 'weft-agent.service'], {
      mayFail: true,
    });
    // Of units of systemd's own, which are not in that folder, it says that they are not found.
    const said = verify.stderr
      .split('\n')
      .filter((line) => line.includes('weft-agent') && !line.includes('not found'));
    t.strictSame(said, []);
    const share = join(place, 'usr/local/share');
    t.match(await readFile(join(share, 'bash-completion/completions/weft'), 'utf8'), '__complete');
    t.match(await readFile(join(share, 'zsh/site-functions/_weft'), 'utf8'), /^#compdef weft\n/);
    t.match(await readFile(join(share, 'fish/vendor_completions.d/weft.fish'), 'utf8'), 'complete -c weft');
    t.match(await readFile(join(share, 'man/man8/weft.8'), 'utf8'), '.SH weft net add\n');
    await writeFile(join(place, 'opt/elsewhere/ptp'), "somebody else's");
    await make('uninstall');
    const { stdout } = await exec('find', [place, '-type', 'f', '-o', '-type', 'l']);
    t.equal(stdout.trim(), join(place, 'opt/elsewhere/ptp'), "what is somebody else's stays");
  },
);

t.test('READY when it can be asked, STOPPING when it ends', async (t) => {
  const host = await makeHost(t);
  const [socket, told] = [join(host.root, 'notify'), join(host.root, 'systemd.log')];
  const listen = `import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
while True: print(s.recv(4096).decode(), flush=True)`;
  await host.daemon('systemd', 'python3', ['-c', listen, socket]);
  await host.exec('sh', ['-c', 'until [ -S "$1" ]; do sleep 0.02; done', 'sh', socket]);
  const agent = await startAgent(host, { bin: BIN, env: { NOTIFY_SOCKET: socket } });
  await until('systemd is told', async () => (await readFile(told, 'utf8')) === 'READY=1\n');
  await ok(host, 'VERSION');
  t.equal(await served(agent, 'VERSION', 1), 1, 'it is ready');
  await agent.signal('TERM');
  await agent.ended();
  await until('systemd is told', async () => (await readFile(told, 'utf8')) === 'READY=1\nSTOPPING=1\n');
});

/** All system calls of a filter, its groups taken apart. */
async function allowedCalls(filter: readonly string[]): Promise<string[]> {
  const groups = filter.filter((word) => word.startsWith('@'));
  const calls = filter.filter((word) => !word.startsWith('@'));
  if (groups.length === 0) return calls;
  const { stdout } = await exec('systemd-analyze', ['syscall-filter', ...groups]);
  const members = stdout.split('\n').flatMap((line) => /^\s+(@?[\w-]+)$/.exec(line)?.[1] ?? []);
  return [...calls, ...(await allowedCalls(members))];
}

for (const backend of ['nftables', 'iptables']) {
  t.test(
    `with the unit's capabilities and no other system calls or sockets than it allows: ${backend}`,
    async (t) => {
      const host = await makeHost(t);
      const trace = join(host.root, 'trace');
      const capabilities = (await setting('CapabilityBoundingSet')).map(
        (name) => `+${name.slice(4).toLowerCase()}`,
      );
      const bin = join(host.root, 'unit');
      await cp(BIN, bin, { recursive: true });
      // The agent is this very `weft`, as systemd would start it, with somebody who looks on.
      await host.exec('mv', [join(bin, 'weft'), join(bin, 'weft-itself')]);
      const script = `#!/bin/sh
exec strace -D -f -qq -o '${trace}' -e trace=all setpriv --bounding-set=-all,${capabilities.join(',')} \\
  --inh-caps=-all --no-new-privs '${join(bin, 'weft-itself')}' "$@"`;
      await writeFile(join(bin, 'weft'), script, { mode: 0o755 });
      const agent = await startAgent(host, { bin });
      const containers = [await host.container(), await host.container()];
      const config = { ...NETWORK, ipMasq: true, ipMasqBackend: backend };
      for (const container of containers) {
        const { json } = await ok(host, 'ADD', { container, config, bin });
        await ok(host, 'CHECK', { container, config: { ...config, prevResult: json }, bin });
      }
      const [, second] = containers;
      const gc = {
        ...config,
        cniVersion: '1.1.0',
        'cni.dev/valid-attachments': [{ containerID: second?.id, ifname: 'eth0' }],
      };
      await ok(host, 'GC', { config: gc, bin });
      for (const container of containers) await ok(host, 'DEL', { container, config, bin });
      t.strictSame(await leases(host), []);
      for (const [command, count] of Object.entries({ ADD: 2, CHECK: 2, GC: 1, DEL: 2 })) {
        t.equal(await served(agent, command, count), count, `${command} by the agent`);
      }
      await agent.signal('TERM');
      await agent.ended();

      const lines = (await readFile(trace, 'utf8')).split('\n');
      const called = new Set(lines.map((line) => /^\d+ +([a-z]\w*)\(/.exec(line)?.[1] ?? ''));
      called.delete('');
      t.ok(called.has('setns') && called.size > 20, 'the trace tells something');
      const allowed = await allowedCalls(await setting('SystemCallFilter'));
      t.strictSame(
        [...called].filter((name) => !allowed.includes(name)),
        [],
        'system calls that the unit does not allow',
      );
      const families = new Set(lines.flatMap((line) => / socket\((AF_\w+)/.exec(line)?.[1] ?? []));
      const mayOpen = await setting('RestrictAddressFamilies');
      t.strictSame(
        [...families].filter((name) => !mayOpen.includes(name)),
        [],
        'sockets that the unit does not allow',
      );
    },
  );
}
