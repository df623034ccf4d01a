/** `weft nat` on a host where many rewrite addresses: both backends of ours, the reference plugins, Docker, a person. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { execIn, type Host, makeHost, makeOutside, OUTSIDE, UPLINK } from '../support/host.ts';
import { pluginsUnderTest, REFERENCE } from '../support/plugins.ts';

const WEFT = join(pluginsUnderTest(), 'weft');

function conflist(host: Host, name: string, subnet: string, backend: object, ports: object): void {
  const plugins = [
    {
      ...{ type: 'bridge', bridge: `${name}0`, isDefaultGateway: true, ipMasq: true },
      ...backend,
      ipam: { type: 'host-local', ranges: [[{ subnet }]] },
    },
    { type: 'portmap', capabilities: { portMappings: true }, ...ports },
  ];
  writeFileSync(
    join(host.dirs.conf, `10-${name}.conflist`),
    JSON.stringify({ cniVersion: '1.0.0', name, plugins }),
  );
}

const publish = (hostPort: number, protocol: string) => [
  '--cap',
  `portMappings=${JSON.stringify([{ hostPort, containerPort: 80, protocol }])}`,
];

interface Found {
  what: string;
  kind: string;
  owner: { who: string; network?: string; containerId?: string; plugin?: string };
  container?: string;
  live: number;
  rules: { table: string; chain: string; text: string }[];
  element?: { set: string; words: string };
}

t.test('everybody who rewrites addresses', async (t) => {
  const host = await makeHost(t);
  const outside = await makeOutside(t, host);
  // Connections are to be there whenever a busy machine looks.
  const patience = ['net.netfilter.nf_conntrack_udp_timeout=3600', 'net.netfilter.nf_conntrack_acct=1'];
  await host.exec('sysctl', ['-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1', ...patience]);
  conflist(host, 'podnet', '10.131.1.0/24', { ipMasqBackend: 'nftables' }, { backend: 'nftables' });
  conflist(host, 'oldnet', '10.131.2.0/24', { ipMasqBackend: 'iptables' }, { backend: 'iptables' });
  conflist(host, 'refnet', '10.131.3.0/24', {}, {});
  const [a, b, c] = [await host.container(), await host.container(), await host.container()];
  const net = (...args: string[]) => host.exec(WEFT, ['net', ...args]);
  await net('add', 'podnet', a.netns, '--id', 'pod1', ...publish(8080, 'udp'));
  await net('add', 'oldnet', b.netns, '--id', 'old1', ...publish(8081, 'tcp'));
  await net('add', 'refnet', c.netns, '--id', 'ref1', '--cni-path', REFERENCE, ...publish(8082, 'tcp'));
  const docker = ['*nat', ':DOCKER - [0:0]', '-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER'];
  docker.push('-A DOCKER ! -i docker0 -p tcp -m tcp --dport 8083 -j DNAT --to-destination 172.17.0.2:80');
  docker.push('-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE', 'COMMIT', '');
  await execIn(host.netns, 'iptables-nft-restore', ['--noflush'], { input: docker.join('\n') });
  await execIn(host.netns, 'nft', ['-f', '-'], {
    input:
      'table ip mine { chain post { type nat hook postrouting priority 200; ip saddr 10.9.0.0/16 snat to 198.51.100.1; }; }',
  });
  const send = (netns: string, address: string, port: number) =>
    execIn(netns, 'bash', ['-c', `echo x >/dev/udp/${address}/${port}`]);
  await send(outside, UPLINK.v4, 8080);
  await send(a.netns, OUTSIDE.v4, 9);

  const nat = (...args: string[]) => host.exec(WEFT, ['nat', ...args], { mayFail: true });
  const { status, stdout, stderr } = await nat('--json');
  t.equal(status, 0, stderr);
  const { translations, findings, unread } = JSON.parse(stdout) as {
    translations: Found[];
    findings: { code: string }[];
    unread: string[];
  };
  t.strictSame(unread, []);
  t.strictSame(findings, [], 'nothing is wrong');
  const find = (what: string) => translations.find((one) => one.what === what);

  await t.test('ours, by nftables: elements', async (t) => {
    const pod1 = { who: 'weft', network: 'podnet', containerId: 'pod1', ifname: 'eth0' };
    t.match(find('masquerade 10.131.1.2'), {
      ...{ kind: 'masquerade', owner: pod1, container: 'pod1', live: 1 },
      element: { set: 'masquerade4', words: '10.131.1.2' },
    });
    t.match(find('udp 8080 -> 10.131.1.2:80'), {
      ...{ kind: 'dnat', owner: { ...pod1, plugin: 'portmap' }, live: 1 },
      element: { set: 'ports4', words: 'udp . 8080 : 10.131.1.2 . 80' },
    });
    t.match(
      find('masquerade to 10.131.1.2'),
      { element: { set: 'own4' }, rules: { length: 2 } },
      'hairpin is one line',
    );
  });

  await t.test('ours, by iptables; the reference plugins; Docker; a person', async (t) => {
    const old1 = { who: 'weft', network: 'oldnet', containerId: 'old1', ifname: 'eth0' };
    t.match(find('masquerade 10.131.2.2'), { owner: old1, element: { set: 'weft-oldnet-4' } });
    t.match(find('tcp 8081 -> 10.131.2.2:80'), { owner: { ...old1, plugin: 'portmap' } });
    t.match(find('masquerade 10.131.3.2'), { owner: { who: 'cni', network: 'refnet', containerId: 'ref1' } });
    t.match(find('tcp 8082 -> 10.131.3.2:80'), {
      owner: { who: 'cni', plugin: 'portmap', containerId: 'ref1' },
    });
    t.match(find('tcp 8083 -> 172.17.0.2:80'), { owner: { who: 'docker' } });
    t.match(find('masquerade 172.17.0.0/16'), { owner: { who: 'docker' } });
    t.match(find('source of 10.9.0.0/16 -> 198.51.100.1'), { kind: 'snat', owner: { who: 'somebody else' } });
  });

  await t.test('for people', async (t) => {
    const { stdout } = await nat();
    t.match(stdout, /^WHO +NETWORK +CONTAINER +WHAT +PACKETS +BYTES +LIVE +BY\n/);
    t.match(
      stdout,
      /\nweft portmap +podnet +pod1 +udp 8080 -> 10\.131\.1\.2:80 +1 +\d+ +1 +inet weft-ports @ports4\n/,
    );
    t.match(stdout, /\ncni portmap +refnet +ref1 +tcp 8082 -> 10\.131\.3\.2:80 /);
    const docker = await nat('list', '--who', 'docker');
    t.equal(
      docker.stdout
        .trim()
        .split('\n')
        .filter((line) => /^docker/.test(line)).length,
      2,
    );
    t.notMatch(docker.stdout, /^weft/m);
    const podnet = await nat('--network', 'podnet');
    t.match(podnet.stdout, /10\.131\.1\.2/);
    t.notMatch(podnet.stdout, /10\.131\.[23]\./);
  });

  await t.test('all about one', async (t) => {
    const port = await nat('show', 'udp/8080');
    t.match(port.stdout, /^udp 8080 -> 10\.131\.1\.2:80\n/);
    t.match(port.stdout, /who +weft portmap \(podnet pod1 eth0\)/);
    t.match(port.stdout, /element +udp \. 8080 : 10\.131\.1\.2 \. 80 of inet weft-ports ports4/);
    t.match(port.stdout, /udp 198\.51\.100\.2:\d+ -> 198\.51\.100\.1:8080, kept \d+ /);
    t.match(port.stdout, /answered by 10\.131\.1\.2:80 -> 198\.51\.100\.2:\d+/);
    const { translations } = JSON.parse((await nat('show', 'udp/8080', '--json')).stdout);
    t.match(translations, [
      {
        live: 1,
        connections: [
          {
            protocol: 'udp',
            original: { source: OUTSIDE.v4, destination: UPLINK.v4, destinationPort: 8080 },
            reply: { source: '10.131.1.2', sourcePort: 80, destination: OUTSIDE.v4 },
          },
        ],
      },
    ]);
    const container = await nat('show', 'old1');
    t.match(container.stdout, /masquerade 10\.131\.2\.2\n/);
    t.match(container.stdout, /tcp 8081 -> 10\.131\.2\.2:80\n/);
    t.match(await nat('show', '4711'), { status: 1, stderr: /nothing rewrites addresses for "4711"/ });
  });

  await t.test('a picture of all', async (t) => {
    const file = join(host.root, 'rules.svg');
    t.match(await nat('graph', '--output', file), { status: 0, stderr: /rules\.svg: \d+ chains and sets/ });
    const picture = readFileSync(file, 'utf8');
    for (const words of ['>WEFT-PORTS<', '>masq-podnet<', '>DOCKER<', '>map ports4<', '>docker<', '>weft<']) {
      t.ok(picture.includes(words), words);
    }
    t.match((await nat('graph')).stdout, /^<svg [\s\S]*<\/svg>$/);
  });

  await t.test('completion', async (t) => {
    const proposed = async (word: string) =>
      (await host.exec(WEFT, ['__complete', 'nat', 'show', word])).stdout
        .split('\n')
        .map((line) => line.split('\t')[0]);
    t.match(await proposed('po'), ['pod1']);
    t.match((await proposed('808')).sort(), ['8080', '8081', '8082', '8083']);
  });

  await t.test('what looks wrong', async (t) => {
    await execIn(host.netns, 'iptables-nft', [
      '-t',
      'nat',
      '-I',
      'PREROUTING',
      '-p',
      'udp',
      '--dport',
      '8080',
      '-j',
      'DNAT',
      '--to',
      '10.9.0.9',
    ]);
    await execIn(host.netns, 'iptables-nft', [
      '-t',
      'nat',
      '-I',
      'POSTROUTING',
      '-s',
      '10.131.3.0/24',
      '-j',
      'ACCEPT',
    ]);
    await execIn(host.netns, 'nft', [
      'add element inet weft masquerade4 { 10.131.1.99 comment "gone1 eth0" : jump masq-podnet }',
    ]);
    await execIn(a.netns, 'ip', ['link', 'set', 'eth0', 'mtu', '9000']);
    await send(outside, UPLINK.v4, 8080);
    const { stdout: owned } = await nat('show', '8080');
    const winner = /"(udp 8080 -> [^"]*)" of .* comes first/.exec(owned)?.[1];
    const taken = new RegExp(`^${winner}\n(?:  .*\n)*?  live +1\n`, 'm');
    t.equal(winner, 'udp 8080 -> 10.9.0.9', 'made last, asked first');
    t.match(owned, taken, 'and so the kernel says');
    await execIn(host.netns, 'sysctl', ['-qw', 'net.ipv4.ip_forward=0']);
    const { status, stdout, stderr } = await nat('--json');
    t.equal(status, 1);
    t.match(stderr, /errors found: packets are lost/);
    const codes = (JSON.parse(stdout).findings as { code: string; subject: string }[])
      .map(({ code, subject }) => `${code} ${subject}`)
      .sort();
    t.strictSame(codes, [
      'forwarding-off IPv4',
      'masquerade-shadowed ref1',
      'mtu-mismatch pod1',
      'nat-without-container gone1',
      'port-owned-twice udp 8080',
    ]);
    const { stdout: shown } = await nat('show', 'gone1');
    t.match(shown, /mend: nft 'delete element inet weft masquerade4 \{ 10\.131\.1\.99 \}'/);
    await execIn(host.netns, 'sh', ['-c', /mend: (nft .*)/.exec(shown)?.[1] ?? 'false']);
    t.match(
      await nat('show', 'gone1'),
      { status: 1, stderr: /nothing rewrites/ },
      'what is said to mend it does',
    );
  });

  await t.test('without root', async (t) => {
    const refused = await host.exec(
      'setpriv',
      ['--reuid=65534', '--clear-groups', '--bounding-set=-all', WEFT, 'nat'],
      { mayFail: true },
    );
    t.match(refused, { status: 1, stderr: /cannot be read: run as root/ });
  });
});
