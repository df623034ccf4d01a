/** `weft doctor` names nothing on hosts that are healthy in other ways: iptables, the reference's plugins, ptp, ports that are to be isolated. */
import t from 'tap';
import { conflist, diagnose, named, net } from '../inspect/broken-hosts/lab.ts';
import { makeHost, makeOutside } from '../support/host.ts';
import { REFERENCE } from '../support/plugins.ts';

t.test('healthy in many ways', async (t) => {
  const host = await makeHost(t);
  await makeOutside(t, host);
  const ipam = (subnet: string) => ({ ipam: { type: 'host-local', ranges: [[{ subnet }]] } });
  const bridge = (name: string, subnet: string, more: object) => ({
    ...{ type: 'bridge', bridge: `${name}0`, isDefaultGateway: true, ipMasq: true, ...more },
    ...ipam(subnet),
  });
  const portmap = { type: 'portmap', capabilities: { portMappings: true } };
  conflist(host, 'iptnet', [
    bridge('ipt', '10.131.2.0/24', { ipMasqBackend: 'iptables' }),
    { ...portmap, backend: 'iptables' },
    { type: 'firewall' },
  ]);
  conflist(host, 'refnet', [bridge('ref', '10.131.3.0/24', {}), portmap]);
  const ptp = { type: 'ptp', ipMasq: true, ...ipam('10.131.4.0/24') };
  conflist(host, 'ptpnet', [{ ...ptp, ipam: { ...ptp.ipam, routes: [{ dst: '0.0.0.0/0' }] } }]);
  conflist(host, 'isonet', [bridge('iso', '10.131.5.0/24', { portIsolation: true, macspoofchk: true })]);
  const ports = (hostPort: number) => [
    '--cap',
    `portMappings=${JSON.stringify([{ hostPort, containerPort: 80, protocol: 'tcp' }])}`,
  ];
  const reference = ['--cni-path', REFERENCE];
  for (const [network, id, ...more] of [
    ['iptnet', 'a', ...ports(8081)],
    ['iptnet', 'b'],
    ['refnet', 'c', ...reference, ...ports(8082)],
    ['refnet', 'd', ...reference],
    ['ptpnet', 'e'],
    ['ptpnet', 'f'],
    ['isonet', 'g'],
    ['isonet', 'h'],
  ] as const) {
    const { netns } = await host.container();
    await net(host, 'add', network, netns, '--id', id, ...more);
  }
  const { looked, findings } = await diagnose(host);
  t.same(named(findings), []);
  const asked = looked.view.ways.map(({ words }) => words).sort();
  t.match(asked.join('\n'), /from container a to 10\.131\.2\.3\n/);
  t.match(asked.join('\n'), /from container [ef] to 198\.51\.100\.2\n/);
  t.match(asked.join('\n'), /from outside to :8081\/tcp\n/);
  t.notMatch(asked.join('\n'), /from container g to 10\.131\.5\./, 'ports that are to be isolated');
});
