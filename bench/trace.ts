/**
 * What an agent and its launchers do while they serve: system calls with the kernel's clock, by bpftrace from the outside. The programs know
 * nothing of it, so it costs nothing where nobody looks; where somebody does, each event costs some microseconds.
 */
import { spawn } from 'node:child_process';

export interface TraceEvent {
  kind: Kind;
  /** Microseconds of CLOCK_MONOTONIC: entry into the kernel and return from it (the same where only one is known). */
  start: number;
  end: number;
  pid: number;
  tid: number;
  /** Of a `sendto` the types of its first two netlink messages; of an `open` its flags and what it returned; of others the descriptor; what an agent sends to its callers is a `write`. */
  a: number;
  b: number;
}

export type Kind =
  | 'exec'
  | 'exit'
  | 'connect'
  | 'accept'
  | 'sendto'
  | 'received'
  | 'read'
  | 'write'
  | 'open'
  | 'close'
  | 'flock'
  | 'setns'
  | 'wake';

/** The program for bpftrace(8). `launcher` is the file that becomes a process; shorter than bpftrace's strings (64). */
const program = (agent: number, launcher: string) => {
  const ours = `/pid == ${agent} || @launcher[pid]/`;
  const agents = `/pid == ${agent}/`;
  const line = (kind: Kind, from: string, a = '0', b = '0') =>
    `printf("@ ${kind} %llu %llu %d %d %d %d\\n", ${from}, nsecs, pid, tid, ${a}, ${b});`;
  const whole = (call: string, kind: Kind, filter: string) => `
tracepoint:syscalls:sys_enter_${call} ${filter} { @at[tid] = nsecs; }
tracepoint:syscalls:sys_exit_${call} /@at[tid]/ { ${line(kind, '@at[tid]')} delete(@at[tid]); }`;
  const entry = (call: string, kind: Kind, filter: string, a: string) => `
tracepoint:syscalls:sys_enter_${call} ${filter} { ${line(kind, 'nsecs', a)} }`;
  return `
tracepoint:sched:sched_process_exec /str(args->filename) == "${launcher}"/ {
  @launcher[pid] = 1; ${line('exec', 'nsecs')}
}
tracepoint:sched:sched_process_exit /@launcher[pid]/ { ${line('exit', 'nsecs')} delete(@launcher[pid]); }
tracepoint:syscalls:sys_enter_sendto /@launcher[pid] || (pid == ${agent} && !@caller[args->fd])/ {
  @at[tid] = nsecs;
  $message = (uint64)args->buff;
  @first[tid] = *(uint16 *)uptr($message + 4);
  @second[tid] = *(uint16 *)uptr($message + *(uint32 *)uptr($message) + 4);
}
tracepoint:syscalls:sys_exit_sendto /@at[tid]/ {
  ${line('sendto', '@at[tid]', '@first[tid]', '@second[tid]')} delete(@at[tid]);
}
tracepoint:syscalls:sys_enter_futex /pid == ${agent} && tid == pid && (args->op & 127) == 1/ { ${line('wake', 'nsecs')} }
tracepoint:syscalls:sys_exit_recvfrom /pid == ${agent} && tid == pid && args->ret >= 0/ { ${line('received', 'nsecs')} }
${whole('connect', 'connect', '/@launcher[pid]/')}
tracepoint:syscalls:sys_enter_accept4 ${agents} { @at[tid] = nsecs; }
tracepoint:syscalls:sys_exit_accept4 /@at[tid]/ {
  if ((int64)args->ret >= 0) { @caller[args->ret] = 1; ${line('accept', '@at[tid]')} }
  delete(@at[tid]);
}
tracepoint:syscalls:sys_enter_sendto /pid == ${agent} && @caller[args->fd]/ { ${line('write', 'nsecs', 'args->fd')} }
tracepoint:syscalls:sys_enter_close /pid == ${agent} && @caller[args->fd]/ { delete(@caller[args->fd]); }
${whole('flock', 'flock', agents)}
${whole('setns', 'setns', agents)}
${entry('write', 'write', ours, 'args->fd')}
tracepoint:syscalls:sys_enter_openat ${agents} { @at[tid] = nsecs; @first[tid] = args->flags; }
tracepoint:syscalls:sys_exit_openat /@at[tid]/ {
  ${line('open', '@at[tid]', '@first[tid]', 'args->ret')} delete(@at[tid]);
}
${entry('close', 'close', `/pid == ${agent} && tid == pid/`, 'args->fd')}
${entry('read', 'read', `/pid == ${agent} && tid == pid/`, 'args->fd')}
`;
};

export interface Trace {
  /** Ends the trace and returns its events, by their start. */
  stop(): Promise<TraceEvent[]>;
}

/** Traces an agent and the processes of one launcher. Throws when bpftrace is not there or the kernel does not let it. */
export async function startTrace(agent: number, launcher: string): Promise<Trace> {
  // A mount namespace of its own: tracefs is not everywhere, and need not be seen by others.
  const script = 'mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null; exec bpftrace -e "$1"';
  const child = spawn('unshare', ['--mount', 'sh', '-c', script, 'sh', program(agent, launcher)], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env.PATH, BPFTRACE_PERF_RB_PAGES: '1024' },
  });
  let [out, err] = ['', ''];
  child.stdout.on('data', (data) => {
    out += data;
  });
  child.stderr.on('data', (data) => {
    err += data;
  });
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  while (!out.includes('Attaching')) {
    if (child.exitCode !== null) {
      throw new Error(`bpftrace does not run (apt-get install bpftrace; as root): ${err || out}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return {
    stop: async () => {
      child.kill('SIGINT');
      await ended;
      if (/[Ll]ost \d+ events/.test(out + err)) throw new Error('bpftrace lost events: try fewer rounds');
      return out
        .split('\n')
        .filter((line) => line.startsWith('@ '))
        .map(parse)
        .sort((one, other) => one.start - other.start);
    },
  };
}

function parse(line: string): TraceEvent {
  const [, kind, ...numbers] = line.split(' ');
  const [start = 0, end = 0, pid = 0, tid = 0, a = 0, b = 0] = numbers.map(Number);
  return { kind: kind as Kind, start: start / 1000, end: end / 1000, pid, tid, a, b };
}
