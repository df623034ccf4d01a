/** weft as systemd runs it: installed, started by its unit, restarted under load, and after a power failure. */
import t from 'tap';
import { until as untilWithin } from '../support/until.ts';
import { disk, type Machine, machine } from './machine.ts';

/** Machines without KVM are slow. */
const until = (what: string, condition: () => Promise<boolean>) => untilWithin(what, condition, 300_000);

/** As docs/networks.md says for BGP. */
const DROP_IN = `[Service]
KillMode=process
ExecStart=
ExecStart=/opt/cni/bin/weft agent --registry /etc/weft/hosts.yaml --collect-after 2`;

const bridge = (name: string, subnet: string, more: object, ...chained: object[]) => ({
  ...{ cniVersion: '1.0.0', name },
  plugins: [
    {
      ...{ type: 'bridge', bridge: `${name}0`, isDefaultGateway: true, ipMasq: true },
      ipam: { type: 'host-local', ranges: [[{ subnet }]] },
      ...more,
    },
    ...chained,
  ],
});
const ports = (backend: string) => ({ type: 'portmap', backend, capabilities: { portMappings: true } });
const NETWORKS = [
  bridge('new', '10.87.0.0/16', {}, ports('nftables'), { type: 'dnsname', domainName: 'weft.test' }),
  bridge('old', '10.86.0.0/16', { ipMasqBackend: 'iptables' }, ports('iptables')),
  { cniVersion: '1.0.0', name: 'tunnel', plugins: [{ type: 'vxlan', pool: '10.244.0.0/16' }] },
  {
    cniVersion: '1.0.0',
    name: 'spoken',
    plugins: [{ type: 'routed', backend: 'bgp', bgp: { asn: 64512 }, pool: '10.246.0.0/16' }],
  },
  {
    ...{ cniVersion: '1.0.0', name: 'lan' },
    plugins: [{ type: 'bridge', bridge: 'lan0', ipam: { type: 'dhcp' } }],
  },
];

/** What a machine has outside: a way to an outside that it masquerades to, a server of DHCP. */
const SURROUNDINGS = `
ip netns add outside
ip link add up0 type veth peer name eth0 netns outside
ip addr add 203.0.113.2/24 dev up0; ip link set up0 up; ip route add default via 203.0.113.1
ip -n outside addr add 203.0.113.1/24 dev eth0; ip -n outside link set eth0 up
ip netns add server
ip link add lan0 up type bridge
ip link add server up master lan0 type veth peer name eth0 netns server
ip -n server addr add 10.7.0.1/24 dev eth0; ip -n server link set eth0 up
printf '%s\\n' 'start 10.7.0.50' 'end 10.7.0.99' 'interface eth0' 'lease_file /tmp/leases' 'pidfile /tmp/udhcpd.pid' \\
  'option subnet 255.255.255.0' 'option lease 30' 'min_lease 10' >/tmp/udhcpd.conf
touch /tmp/leases
ip netns exec server udhcpd -f /tmp/udhcpd.conf >/tmp/udhcpd.log 2>&1 &`;

const metrics = async (guest: Machine, words: string) =>
  (
    await guest.exec(
      `curl -s --unix-socket /run/weft/metrics.sock http://localhost/metrics | grep '^${words}'`,
      { mayFail: true },
    )
  ).stdout
    .split('\n')
    .filter(Boolean);
const sum = (lines: readonly string[]) =>
  lines.reduce((total, line) => total + Number(line.split(' ').at(-1)), 0);
const port = (number: number) =>
  `--cap 'portMappings=[{"hostPort":${number},"containerPort":80,"protocol":"tcp"}]'`;
/** Milliseconds that the agent was at work, by plugin. */
const TIMES = `journalctl -u weft-agent -o cat | jq -rR 'fromjson? | select(.command=="ADD") | "\\(.plugin) \\(.ms)"'`;

const storage = await disk(t);
const first = await machine(t, { name: 'served', init: 'systemd', disk: storage, limit: 2400 });
t.comment(`up after ${first.bootMs} ms`);

t.test('installed and enabled', async (t) => {
  await first.exec(SURROUNDINGS);
  await first.exec(`make -s -o build install
    # Podman's package has all leases taken away at boot.
    mkdir -p /etc/tmpfiles.d && ln -sf /dev/null /etc/tmpfiles.d/podman.conf
    rm -f /etc/cni/net.d/*; mkdir -p /etc/cni/net.d /etc/weft /etc/systemd/system/weft-agent.service.d
    cat >/etc/systemd/system/weft-agent.service.d/override.conf <<'END'
${DROP_IN}
END
    ${NETWORKS.map((one) => `cat >/etc/cni/net.d/10-${one.name}.conflist <<'END'\n${JSON.stringify(one)}\nEND`).join('\n')}
    systemctl daemon-reload && systemctl enable --now weft-agent`);
  const { stdout } = await first.exec('systemctl show weft-agent -p Type,ActiveState,SubState,NRestarts');
  t.strictSame(stdout.split('\n').sort(), [
    'ActiveState=active',
    'NRestarts=0',
    'SubState=running',
    'Type=notify',
  ]);
  t.equal((await first.exec('stat -c %a /run/weft /run/weft/agent.sock')).stdout, '700\n600');
});

t.test('its hardening is in the way of nothing', async (t) => {
  await until('it has joined', async () =>
    (await first.exec('weft network show tunnel')).stdout.includes('holds'),
  );
  for (const [at, { name }] of NETWORKS.entries())
    await first.exec(
      `ip netns add ${name} && weft net add ${name} ${name} --arg K8S_POD_NAME=${name} ${port(8080 + at)} && weft net check ${name} ${name}`,
    );
  t.strictSame(sum(await metrics(first, 'weft_fallbacks_total')), 0);
  t.ok(sum(await metrics(first, 'weft_requests_total{.*"ADD",code="0"')) >= 7, 'the agent has served');
  for (const [at, name] of ['new', 'old'].entries()) {
    await first.exec(`ip netns exec ${name} ping -n -q -c 1 -w 20 203.0.113.1`);
    const seen = await first.exec(`
      (ip netns exec ${name} busybox nc -l -p 80 <<<hello >/dev/null &) ; sleep 1
      ip netns exec outside busybox nc -w 20 203.0.113.2 ${8080 + at} </dev/null`);
    t.equal(seen.stdout, 'hello', `${name}: a published port`);
  }
  t.match(
    (await first.exec('busybox nslookup new.weft.test 10.87.0.1')).stdout,
    /Address.*10\.87\.0\.2/,
    'names',
  );
  await until(
    'a lease is renewed',
    async () => sum(await metrics(first, 'weft_dhcp_renewals_total{.*renewed')) > 0,
  );
  t.match(await first.exec('weft status', { mayFail: true }), { status: 0, stdout: /this host is well$/ });
  t.comment((await first.exec(TIMES)).stdout.replaceAll('\n', ', '));
});

t.test('restarted under load, no ADD fails', async (t) => {
  const bird = (await first.exec('pgrep -x bird')).stdout;
  const script = `for i in 1 2 3; do
      ip netns add load$i && weft net add new load$i || echo ADD failed
      weft net del new load$i || echo DEL failed
      ip netns del load$i
    done`;
  let done = false;
  const load = first.exec(script, { timeout: 600 }).then(({ stdout, stderr }) => {
    done = true;
    return stdout + stderr;
  });
  let restarts = 0;
  // More than five in ten seconds systemd refuses, unless it is told to forget them.
  for (; !done; restarts++)
    await first.exec('systemctl reset-failed weft-agent; systemctl restart weft-agent');
  t.notMatch(await load, /failed/, `while the agent was restarted ${restarts} times`);
  t.equal((await first.exec('pgrep -x bird')).stdout, bird, 'BIRD runs on');
  t.equal((await first.exec('systemctl show weft-agent -p Result --value')).stdout, 'success');
  await until(
    'leases are renewed by the new one',
    async () => sum(await metrics(first, 'weft_dhcp_renewals_total{.*renewed')) > 0,
  );
});

t.test('killed, stopped', async (t) => {
  await first.exec('systemctl kill -s KILL --kill-whom=main weft-agent');
  await until(
    'systemd starts it again',
    async () =>
      (await first.exec('systemctl show weft-agent -p NRestarts,SubState --value')).stdout
        .split('\n')
        .sort()
        .join() === '1,running',
  );
  await first.exec('systemctl stop weft-agent');
  t.equal((await first.exec('systemctl show weft-agent -p Result --value')).stdout, 'success');
  await first.exec('ip netns add cold && weft net add old cold && weft net del old cold');
  const lines = (await first.exec('journalctl -u weft-agent -o cat | grep "^{"')).stdout.split('\n');
  t.ok(
    lines.every((line) => typeof JSON.parse(line).msg === 'string'),
    'JSON lines in the journal',
  );
});

t.test('after a power failure, what was there is collected', async (t) => {
  t.match((await first.exec('ls /var/lib/cni/networks/new')).stdout, /^10\.87\.0\.2$/m);
  await first.exec('sync');
  await first.stop();
  const again = await machine(t, { name: 'served', init: 'systemd', disk: storage, limit: 2400 });
  await again.exec(`modprobe dummy && ip link add up0 type dummy && ip addr add 203.0.113.2/24 dev up0 && ip link set up0 up
    ip route add default via 203.0.113.1 && systemctl start weft-agent`);
  const left =
    'find /var/lib/cni/networks /var/lib/cni/weft/attachments -name "10.8*" -o -name "*.bridge" -o -name "*.vxlan"';
  await until('nothing of before is left', async () => (await again.exec(left)).stdout === '');
  await again.exec('ip netns add new && weft net add new new && weft net check new new');
  t.match(await again.exec('weft status', { mayFail: true }), { status: 0, stdout: /this host is well$/ });
  t.match((await again.exec('weft network show tunnel')).stdout, /holds/, 'it holds its subnet');
});
