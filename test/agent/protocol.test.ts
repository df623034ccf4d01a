/** The socket takes anything: what is no request ends its connection and nothing else. */
import { randomBytes } from 'node:crypto';
import { connect } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import t from 'tap';
import { ProtocolError, parseRequest } from '../../agent/protocol.ts';
import { startAgent } from '../support/agent.ts';
import { makeHost } from '../support/host.ts';
import { until } from '../support/until.ts';
import { BIN, NETWORK, ok, served } from './support.ts';
import { encodeRequest } from './wire.ts';
import '../support/seed.ts';

const word = fc.string().map((text) => text.replaceAll('\0', ''));
const key = word.map((text) => `K${text.replaceAll('=', '')}`);

t.test('a request comes out as it went in', async () => {
  fc.assert(
    fc.property(
      fc.tuple(word, word),
      word,
      fc.dictionary(key, word),
      fc.string({ unit: 'binary' }),
      (names, netns, env, input) => {
        const request = { names, netns, env, input: Buffer.from(input).toString() };
        const bytes = encodeRequest('identity', request);
        const [all = 0, ofWords = 0] = new Uint32Array(new Uint8Array(bytes.subarray(0, 8)).buffer);
        if (all !== bytes.length - 8) throw new Error(`${all} of ${bytes.length} bytes`);
        const words = bytes.subarray(8 + 'identity'.length + 1, 8 + ofWords - 1).toString();
        const got = parseRequest(words, bytes.subarray(8 + ofWords).toString());
        const plain = JSON.stringify({ ...got, env: { ...got.env } });
        if (plain !== JSON.stringify({ ...request, env: { ...env } })) throw new Error(plain);
      },
    ),
  );
});

t.test('words that are no request are told apart from a failure', async (t) => {
  for (const words of ['', 'netns', 'netns\0bridge']) t.throws(() => parseRequest(words, ''), ProtocolError);
  t.match(parseRequest('\0\0', ''), { names: ['', ''], netns: '', env: {}, input: '' });
  t.match(parseRequest('n\0a\0b\0=x\0none\0K=1\0K=2\0L=', ''), { env: { K: '1', L: '' } });
});

t.test('an agent survives floods of nonsense, of silence, and of halves, and serves meanwhile', async (t) => {
  const host = await makeHost(t);
  const agent = await startAgent(host, { bin: BIN });
  const noise = fileURLToPath(new URL('noise.ts', import.meta.url));
  for (const kind of ['random', 'silent', 'half', 'long', 'endless', 'hurried']) {
    const noisy = host.exec(
      process.execPath,
      [`--import=${import.meta.resolve('tsx')}`, noise, agent.socket, kind, BIN],
      {
        timeout: 60_000,
      },
    );
    for (let i = 0; i < 5; i++) await ok(host, 'VERSION');
    await noisy;
  }
  // Another verb than the noise's, of which some may still be served and logged.
  await ok(host, 'STATUS', { config: { ...NETWORK, cniVersion: '1.1.0' } });
  t.equal(await served(agent, 'STATUS', 1), 1, 'still there');
  const status = (await host.exec('cat', [`/proc/${agent.pid}/status`])).stdout;
  const resident = Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]);
  t.ok(resident < 300_000, `${resident} kB resident`);
  t.equal(
    (await host.exec('ls', [`/proc/${agent.pid}/fd`])).stdout.split('\n').length < 60,
    true,
    'no descriptor leaks',
  );
});

t.test('a caller from elsewhere gets not even a greeting', async (t) => {
  const host = await makeHost(t);
  const agent = await startAgent(host, { bin: BIN });
  const got = await new Promise<Buffer>((resolve) => {
    const chunks: Buffer[] = [];
    const socket = connect(join(host.dirs.run, 'agent.sock'));
    socket.on('data', (chunk) => chunks.push(chunk));
    // EPIPE or ECONNRESET or none: the agent may hang up before it could have read, or with bytes unread.
    socket.on('error', () => {});
    socket.on('close', () => resolve(Buffer.concat(chunks)));
    socket.write(randomBytes(100));
  });
  t.equal(got.toString(), '');
  // It is what proves that the agent was reached; the log is written behind.
  await until('the agent says so', async () =>
    (await agent.log()).some(({ level, msg }) => level === 'warn' && /was sent away/.test(String(msg))),
  );
});
