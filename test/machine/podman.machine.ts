/** Podman under systemd, with AppArmor and control groups of version 2 alone: weft's plugins, and weft-oci as its runtime. */
import t from 'tap';
import { buildImage, IMAGE } from '../support/image.ts';
import { machine } from './machine.ts';

const guest = await machine(t, { name: 'podman', init: 'systemd', limit: 2400 });
await buildImage(guest.exchange);

const CONFIG = `[containers]
default_ulimits = ["nofile=20000:20000"]
[engine]
events_logger = "file"
[network]
network_backend = "cni"
cni_plugin_dirs = ["/opt/cni/bin"]
network_config_dir = "/etc/cni/net.d"`;
const env = { CONTAINERS_CONF: '/etc/containers/own.conf', STORAGE_DRIVER: 'vfs' };
const podman = (words: string, mayFail = false) => guest.exec(`podman ${words}`, { env, mayFail });
const OURS = '--cgroup-manager cgroupfs --runtime /opt/cni/bin/weft-oci run --log-driver k8s-file';

t.test('prepared as docs/runtimes.md says', async (t) => {
  await guest.exec(`make -s -o build install && systemctl daemon-reload && systemctl enable --now weft-agent
    mkdir -p /etc/containers /var/lib/containers && mount -t tmpfs tmpfs /var/lib/containers
    rm -f /etc/cni/net.d/*
    cat >/etc/containers/own.conf <<'END'
${CONFIG}
END`);
  await podman('load --quiet --input /run/machine/image.tar');
  await podman('network create --subnet 10.79.0.0/24 blue');
  t.equal(
    (await podman("info --format '{{.Host.CgroupsVersion}} {{.Host.Security.AppArmorEnabled}}'")).stdout,
    'v2 true',
  );
});

t.test('its own runtime, its pods on our network, through the agent', async (t) => {
  const serve = `sh -c 'while :; do echo hello | nc -l -p 80; done'`;
  await podman(`run -d --name web --network blue -p 8080:80 ${IMAGE} ${serve}`);
  t.equal(
    (await guest.exec('busybox nc -w 10 127.0.0.1 8080 </dev/null')).stdout,
    'hello',
    'a published port',
  );
  t.match(
    (await podman(`run --rm --network blue ${IMAGE} ping -c 1 -w 20 web`)).stdout,
    /1 packets received/,
    'by its name',
  );
  await podman('rm --force --time 0 web');
  const { stdout } = await guest.exec(
    'curl -s --unix-socket /run/weft/metrics.sock http://localhost/metrics | grep "^weft_requests_total"',
  );
  t.match(stdout, /plugin="bridge",verb="ADD",code="0"} 2/, 'the agent has served');
  t.match(stdout, /plugin="portmap",verb="DEL",code="0"} [12]/);
  t.equal(
    (await guest.exec('ls /var/lib/cni/networks/blue | grep -c "^10" || true')).stdout,
    '0',
    'no lease is left',
  );
});

t.test('weft-oci: limits of version 2, its profile of AppArmor', async (t) => {
  await podman(
    `${OURS} -d --name one --network none --memory 64m --pids-limit 50 --cpus 0.5 --cgroup-parent /weft-podman ${IMAGE}`,
  );
  const { stdout: id } = await podman("inspect --format '{{.Id}}' one");
  const group = `/sys/fs/cgroup/weft-podman/libpod-${id}`;
  const { stdout } = await guest.exec(`cd ${group} && cat memory.max pids.max cpu.max`);
  t.equal(stdout, '67108864\n50\n50000 100000');
  const inside = await podman('exec one cat /proc/1/attr/current /proc/self/attr/current');
  t.match(
    inside.stdout,
    /^(containers-default-\S+ \(enforce\)\s*){2}$/,
    "Podman's own profile, for further commands, too",
  );
  await podman('pause one');
  t.match((await guest.exec(`cat ${group}/cgroup.events`)).stdout, 'frozen 1');
  await podman('unpause one');
  await podman('stop --time 1 one');
  await podman('rm one');
  t.equal((await guest.exec(`ls -d ${group}`, { mayFail: true })).stdout, '');
});

t.test("systemd's control groups are refused in words", async (t) => {
  const refused = await podman(
    `--cgroup-manager systemd --runtime /opt/cni/bin/weft-oci run --rm --network none ${IMAGE} true`,
    true,
  );
  t.not(refused.status, 0);
  t.match(refused.stderr, /systemd/);
});
