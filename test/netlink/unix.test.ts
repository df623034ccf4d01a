/** What Node's Unix sockets do not offer. */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import t from 'tap';
import { sendDatagram } from '../../netlink/unix.ts';

// Paths of sockets must be short.
const folder = mkdtempSync(join(tmpdir(), 'w'));
t.teardown(() => rmSync(folder, { recursive: true }));

/** Prints each datagram as a line. */
const RECEIVER = `
import socket, sys
name = sys.argv[1]
here = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
here.bind("\\0" + name[1:] if name[0] == "@" else name)
print("bound", flush=True)
for _ in range(2): print(here.recv(65536).decode(), flush=True)
`;

for (const name of [join(folder, 'datagram'), `@weft-test-${process.pid}`]) {
  t.test(`datagrams reach ${name.startsWith('@') ? 'an abstract name' : 'a path'}`, async (t) => {
    const receiver = spawn('python3', ['-c', RECEIVER, name], {
      env: { ...process.env, LD_PRELOAD: '' },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    t.teardown(() => receiver.kill());
    const lines = createInterface({ input: receiver.stdout })[Symbol.asyncIterator]();
    t.equal((await lines.next()).value, 'bound');
    for (const text of ['READY=1', `STATUS=${'ü'.repeat(1000)}`]) {
      sendDatagram(name, text);
      t.equal((await lines.next()).value, text);
    }
  });
}

t.test('what cannot be reached is named', async (t) => {
  const gone = join(folder, 'gone');
  t.throws(() => sendDatagram(gone, 'x'), {
    code: 'ENOENT',
    message: new RegExp(`^cannot send to ${gone}: ENOENT`),
  });
  t.throws(() => sendDatagram('@weft-nobody', 'x'), { code: 'ECONNREFUSED' });
  for (const name of ['', 'x'.repeat(200)]) t.throws(() => sendDatagram(name, 'x'), { code: 'ENAMETOOLONG' });
});
