/** A client of containerd's CRI, as the kubelet is one. */
import { join } from 'node:path';
import * as grpc from '@grpc/grpc-js';
import { load } from '@grpc/proto-loader';
import type { Host, Teardown } from '../support/host.ts';
import { IMAGE } from '../support/image.ts';

export interface Pod {
  id: string;
  /** Addresses as the runtime reports them, without prefix length. */
  addresses: string[];
}

export interface Cri {
  /** Runs a pod's sandbox, which is where its network is made; throws with the runtime's words. */
  run(
    name: string,
    options?: { hostPort?: number; annotations?: Readonly<Record<string, string>> },
  ): Promise<Pod>;
  /** Creates and starts a container with this command in a pod; returns its id. */
  start(pod: string, name: string, command: readonly string[]): Promise<string>;
  /** Runs another command in it, and waits for its end. */
  exec(container: string, command: readonly string[]): Promise<{ status: number; stdout: string }>;
  removeContainer(id: string): Promise<void>;
  stop(id: string): Promise<void>;
  remove(id: string): Promise<void>;
  /** What the runtime thinks of its network: undefined when it is ready, else its words. */
  networkFault(): Promise<string | undefined>;
}

interface StatusResponse {
  status: { conditions: { type: string; status: boolean; message: string }[] };
}
interface PodStatusResponse {
  status: { network: { ip: string; additional_ips: { ip: string }[] } };
}

/** Milliseconds for one call; a sandbox takes a fraction of a second, ten at once on a busy machine take longer. */
const DEADLINE = 120_000;

/** Connects to the socket of a host's containerd; the connection is closed at teardown. */
export async function connectCri(t: Teardown, host: Host, address: string): Promise<Cri> {
  const definition = await load(join(import.meta.dirname, 'cri.proto'), { keepCase: true, defaults: true });
  const Service = grpc.makeClientConstructor(
    service(definition['runtime.v1.RuntimeService']),
    'RuntimeService',
  );
  const client = new Service(`unix:${address}`, grpc.credentials.createInsecure());
  t.teardown(() => client.close());

  const call = <T>(method: string, request: object) =>
    new Promise<T>((resolve, reject) => {
      const definition = Service.service[method];
      if (!definition) throw new Error(`cri.proto has no method ${method}`);
      client.makeUnaryRequest<object, T>(
        definition.path,
        definition.requestSerialize,
        definition.responseDeserialize as (bytes: Buffer) => T,
        request,
        { deadline: Date.now() + DEADLINE },
        (error, answer) => (error ? reject(error) : resolve(answer as T)),
      );
    });

  const podConfig = (name: string) => ({
    metadata: { name, uid: `uid-${name}`, namespace: 'tests', attempt: 0 },
    log_directory: host.root,
    linux: { cgroup_parent: `/${host.name}` },
  });

  return {
    start: async (pod, name, command) => {
      const { container_id } = await call<{ container_id: string }>('CreateContainer', {
        pod_sandbox_id: pod,
        config: { metadata: { name, attempt: 0 }, image: { image: IMAGE }, command },
        sandbox_config: podConfig(name),
      });
      await call('StartContainer', { container_id });
      return container_id;
    },
    exec: async (container_id, cmd) => {
      const asked = { container_id, cmd, timeout: 60 };
      const { stdout, exit_code } = await call<{ stdout: Buffer; exit_code: number }>('ExecSync', asked);
      return { status: exit_code, stdout: stdout.toString('utf8') };
    },
    removeContainer: async (container_id) => {
      await call('StopContainer', { container_id });
      await call('RemoveContainer', { container_id });
    },
    run: async (name, { hostPort = 0, annotations = {} } = {}) => {
      const { pod_sandbox_id: id } = await call<{ pod_sandbox_id: string }>('RunPodSandbox', {
        config: {
          ...podConfig(name),
          dns_config: { servers: ['192.0.2.53'] },
          port_mappings: [{ protocol: 0, container_port: 80, host_port: hostPort }],
          annotations,
        },
      });
      const { status } = await call<PodStatusResponse>('PodSandboxStatus', { pod_sandbox_id: id });
      return { id, addresses: [status.network.ip, ...status.network.additional_ips.map((more) => more.ip)] };
    },
    stop: (id) => call('StopPodSandbox', { pod_sandbox_id: id }),
    remove: (id) => call('RemovePodSandbox', { pod_sandbox_id: id }),
    networkFault: async () => {
      const { status } = await call<StatusResponse>('Status', {});
      const network = status.conditions.find((condition) => condition.type === 'NetworkReady');
      return network?.status ? undefined : (network?.message ?? 'the runtime says nothing about its network');
    },
  };
}

function service(definition: unknown): grpc.ServiceDefinition {
  if (typeof definition !== 'object' || definition === null)
    throw new Error('cri.proto has no RuntimeService');
  return definition as grpc.ServiceDefinition;
}
