/**
 * Runs one command in a test machine, as root, in this checkout, and ends with its status:
 *   npx tsx test/machine/run.ts [--systemd] [--memory <MiB>] [--cpus <n>] [--limit <s>] <script of bash>
 */
import { parseArgs } from 'node:util';
import { machine } from './machine.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    systemd: { type: 'boolean', default: false },
    memory: { type: 'string', default: '2048' },
    cpus: { type: 'string', default: '2' },
    limit: { type: 'string', default: '900' },
    console: { type: 'boolean', default: false },
  },
});
const teardowns: (() => Promise<void> | void)[] = [];
const limit = Number(values.limit);
try {
  const guest = await machine(
    { teardown: (fn) => teardowns.unshift(fn) },
    {
      init: values.systemd ? 'systemd' : 'script',
      ...{ memory: Number(values.memory), cpus: Number(values.cpus), limit },
    },
  );
  console.error(`machine up after ${guest.bootMs} ms`);
  const watch = (text: string) => process.stdout.write(text);
  const { status } = await guest.exec(positionals.join(' '), { timeout: limit, mayFail: true, watch });
  if (values.console) console.error(await guest.console());
  process.exitCode = status;
} finally {
  for (const end of teardowns) await end();
}
