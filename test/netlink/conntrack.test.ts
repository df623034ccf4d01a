import t from 'tap';
import { deleteConnections, involving, listConnections } from '../../netlink/conntrack.ts';
import { ask, namespaceFor } from './support.ts';

t.test('tracked connections are listed and deleted by what they are', async (t) => {
  const { ns, run } = await namespaceFor(t);
  const make = (source: string, destination: string, port: number) =>
    run(
      ...(['conntrack', '-I', '-p', 'udp', '-s', source, '-d', destination] as const),
      ...['--sport', '1000', '--dport', `${port}`, '-t', '600'],
    );
  make('10.1.0.2', '10.1.0.9', 53);
  make('10.1.0.2', '10.1.0.9', 54);
  make('10.1.0.3', '10.1.0.9', 53);
  make('fd00::2', 'fd00::9', 53);
  const found = await ask(ns, listConnections(2));
  t.equal(found.length, 3);
  t.match(
    found.find(({ original }) => original.source === '10.1.0.3'),
    { family: 2, original: { protocol: 17, destination: '10.1.0.9', sourcePort: 1000, destinationPort: 53 } },
  );
  t.equal(await deleteConnections(ns, involving('10.1.0.9', 17, 54)), 1);
  t.equal(await deleteConnections(ns, involving('10.1.0.2', 6)), 0);
  t.equal(await deleteConnections(ns, involving('10.1.0.9'), { limit: 1 }), 1);
  t.equal(await deleteConnections(ns, () => true), 2);
  t.equal(run('conntrack', '-L', '-f', 'ipv4').trim(), '');
});
