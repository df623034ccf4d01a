/** What qemu is told, so that a machine has what `machine()` promises and nothing else. */
import { accessSync, constants, existsSync } from 'node:fs';
import path from 'node:path';
import type { MachineOptions } from './machine.ts';

/** One end of a wire: paths of sockets. */
export interface WireEnd {
  readonly local: string;
  readonly remote: string;
}

export interface Hardware extends MachineOptions {
  name: string;
  /** The folder that the machine sees as /run/machine. */
  exchange: string;
  /** What scripts/machine-image.sh made. */
  cache: string;
}

/**
 * Whether machines run at this machine's own speed; without, they are some twenty times slower. A /dev/kvm alone does not say
 * so: KVM in software (kvm_pvm) takes only kernels that were built for it, and Debian's hangs there before its first word.
 */
export function hasKvm(): boolean {
  const hardware = ['kvm_intel', 'kvm_amd'].some((name) => existsSync(`/sys/module/${name}`));
  try {
    accessSync('/dev/kvm', constants.R_OK | constants.W_OK);
    return hardware;
  } catch {
    return false;
  }
}

/** The machine's command line; the words `weft.*` are for init.sh. */
function kernel({ init = 'script', name, cache, kernel = '' }: Hardware): string {
  return [
    // no_timer_check: a kernel that is emulated on a busy machine misses ticks, and panics at their test.
    'console=ttyS0 quiet loglevel=4 panic=-1 random.trust_cpu=on net.ifnames=0 no_timer_check',
    'cgroup_no_v1=all systemd.unified_cgroup_hierarchy=1 apparmor=1 security=apparmor',
    `systemd.unit=weft-machine.target weft.init=${init} weft.name=${name}`,
    `weft.modules=${path.join(cache, 'kernel/modules')} ${kernel}`,
  ].join(' ');
}

function share(tag: string, where: string, option = ''): string[] {
  const fsdev = `local,id=${tag},path=${where},security_model=none,multidevs=remap${option}`;
  return ['-fsdev', fsdev, '-device', `virtio-9p-pci,fsdev=${tag},mount_tag=${tag}`];
}

function nic({ local, remote }: WireEnd, i: number): string[] {
  // The path is as good as random: no two ends of this machine have the same address.
  const digits = Buffer.from(local).reduce((sum, byte) => (sum * 31 + byte) % 2 ** 40, i);
  const mac = `02:${digits
    .toString(16)
    .padStart(10, '0')
    .replace(/..(?!$)/g, '$&:')}`;
  const wire = `dgram,id=wire${i},local.type=unix,local.path=${local},remote.type=unix,remote.path=${remote}`;
  return ['-netdev', wire, '-device', `virtio-net-pci,netdev=wire${i},mac=${mac},romfile=`];
}

/** The arguments of qemu-system-x86_64. */
export function qemuArguments(hardware: Hardware): string[] {
  const { name, exchange, cache, memory = 2048, cpus = 2, wires = [], disk } = hardware;
  const [accelerator, cpu] = hasKvm() ? ['kvm', 'host'] : ['tcg,thread=multi', 'max'];
  // biome-ignore format: one option with its value per line says more
  return [
    '-name', name,
    '-accel', accelerator,
    '-cpu', cpu,
    '-machine', 'q35',
    '-m', String(memory),
    '-smp', String(cpus),
    '-nodefaults', '-no-user-config', '-no-reboot', '-display', 'none', '-nic', 'none',
    '-kernel', path.join(cache, 'kernel/vmlinuz'),
    '-initrd', path.join(cache, 'initramfs'),
    '-append', kernel(hardware),
    '-serial', `file:${path.join(exchange, 'console')}`,
    ...share('root', '/', ',readonly=on'),
    ...share('exchange', exchange),
    '-device', 'virtio-serial-pci',
    '-chardev', `socket,id=machine,path=${path.join(exchange, 'port')}`,
    '-device', 'virtserialport,chardev=machine,name=machine',
    '-object', 'rng-random,id=rng,filename=/dev/urandom', '-device', 'virtio-rng-pci,rng=rng',
    ...wires.flatMap(nic),
    ...(disk === undefined ? [] : ['-drive', `file=${disk},format=raw,if=virtio,cache=unsafe`]),
  ];
}
