/** The bench's caller in C: what it starts, how many at a time, and what it says of it. */
import t from 'tap';
import { openGround } from '../../bench/ground.ts';

t.test('hosts run jobs in order, so many at a time, with input and environment', async (t) => {
  const ground = await openGround();
  t.teardown(() => ground.close());
  const host = await ground.host('one');
  const echo = { file: '/bin/sh', args: ['-c', 'read -r line; echo "$line$WORD"; echo again'] };
  const jobs = [1, 2, 3].map((n) => ({ ...echo, input: `{"n": ${n}}\n`.trim(), env: { WORD: `=${n}` } }));
  const done = await host.run(jobs);
  t.strictSame(
    done.map(({ output }) => output),
    [1, 2, 3].map((n) => `{"n": ${n}}=${n} again `),
  );
  for (const [index, { start, end }] of done.entries()) {
    t.ok(end > start);
    if (index > 0) t.ok(start >= (done[index - 1]?.end ?? Infinity), 'one at a time');
  }
  // Each waits for the other: only side by side do they end.
  const [here, there] = [`${host.dir}/here`, `${host.dir}/there`];
  await host.shell(`mkfifo '${here}' '${there}'`);
  const meet = (first: string, second: string) => ({
    file: '/bin/sh',
    args: ['-c', `echo >'${first}'; read x <'${second}'`],
  });
  await host.run(
    [meet(here, there), { file: '/bin/sh', args: ['-c', `read x <'${here}'; echo >'${there}'`] }],
    2,
  );

  const [netns = ''] = await ground.namespaces('seen', 1);
  const own = await host.shell('readlink /proc/self/ns/net');
  t.not(await host.shell(`nsenter --net='${netns}' readlink /proc/self/ns/net`), own);
  await t.rejects(host.run([{ file: '/bin/false' }]), { message: /one.*false.*status 1/ });
});
