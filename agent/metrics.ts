/**
 * The agent's metrics (docs/metrics.md has the table). Loads prom-client, which takes longer than the rest of the agent: serve.ts loads this
 * module when the agent listens already.
 */
import { readdirSync } from 'node:fs';
import process from 'node:process';
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { Paths } from '../cni/ambient.ts';
import type { Served } from './agent.ts';
import type { NetworkSummary } from './cluster/summary.ts';
import type { Renewal } from './dhcp/start.ts';
import type { AgentEvent, AgentEvents } from './events.ts';
import { fallbackCounts } from './fallbacks.ts';
import { leaseUsage } from './lease-usage.ts';

/** Seconds. From the fastest ADD to one that waits for a program. */
const BUCKETS = [
  0.0001, 0.00025, 0.0005, 0.001, 0.0015, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1,
  2.5, 5, 10,
];
/** What was listed counts as new for so many times the time that it took: few leases are always told as they are, 10,000 do not cost more. */
const LISTING_LASTS = 50;
const VERBS = ['ADD', 'DEL', 'CHECK', 'GC', 'STATUS', 'VERSION'];

export interface MetricsOptions {
  events: AgentEvents;
  /** The folders whose networks are counted. */
  paths: Paths;
  version: string;
  /** agent/identity.ts: ownIdentity(). */
  identity: string;
  /** Requests under way. */
  underWay(): number;
  /** Networks between hosts. */
  networks(): Promise<NetworkSummary[]>;
  /** DHCP leases, by network and state. */
  dhcpLeases: Renewal['states'];
}

/** Counts what `events` tells from now on, and what it has kept. */
export class AgentMetrics {
  readonly #registry = new Registry();
  readonly #requests = this.#counter('weft_requests_total', 'Requests answered', ['plugin', 'verb', 'code']);
  readonly #durations = this.#histogram(
    'weft_request_duration_seconds',
    'From the whole request to its answer, waiting for others of its container included',
  );
  readonly #kernel = this.#histogram(
    'weft_request_kernel_seconds',
    'Part of the duration in which the kernel was waited for (netlink, sysctl, namespaces)',
  );
  readonly #underWay = this.#gauge('weft_requests_under_way', 'Requests taken and not answered yet');
  readonly #abandoned = this.#counter(
    'weft_requests_abandoned_total',
    'Requests whose caller went away before the answer; what their ADD made was taken away',
    ['plugin', 'verb'],
  );
  readonly #lastError = this.#gauge(
    'weft_request_last_error_timestamp_seconds',
    'When a request last failed with this code',
    ['plugin', 'verb', 'code'],
  );
  readonly #refused = this.#counter('weft_callers_refused_total', 'Callers that were not served', ['reason']);
  readonly #corrections = this.#counter(
    'weft_reconcile_corrections_total',
    'Things of ours put back after others removed or changed them',
    ['kind'],
  );
  readonly #fallbacks = this.#counter(
    'weft_fallbacks_total',
    'Requests that launchers served by the cold path though an agent had been started',
    ['reason'],
  );
  readonly #used = this.#gauge('weft_leases_used', 'Addresses with a lease', ['network', 'family']);
  readonly #free = this.#gauge('weft_leases_free', 'Addresses that can be handed out', ['network', 'family']);
  readonly #members = this.#gauge('weft_network_members', 'Hosts of a network between hosts', ['network']);
  readonly #endpoints = this.#gauge(
    'weft_network_endpoints',
    'Addresses of containers of an L2 network between hosts, on all hosts',
    ['network'],
  );
  readonly #registryUp = this.#gauge('weft_registry_up', 'Whether the registry of hosts answers', [
    'network',
  ]);
  readonly #problems = this.#gauge(
    'weft_network_problems',
    'Reasons for which a network between hosts takes no new containers here',
    ['network'],
  );
  readonly #dhcpLeases = this.#gauge('weft_dhcp_leases', 'DHCP leases that the agent keeps', [
    'network',
    'state',
  ]);
  readonly #dhcpAttempts = this.#counter('weft_dhcp_renewals_total', 'Attempts to renew a DHCP lease', [
    'outcome',
  ]);
  readonly #memory = this.#gauge('process_resident_memory_bytes', 'Memory that is resident');
  readonly #cpu = this.#counter('process_cpu_seconds_total', 'Processor time, user and system', []);
  readonly #started = this.#gauge('process_start_time_seconds', 'When the agent started');
  readonly #files = this.#gauge('process_open_fds', 'Open file descriptors');
  readonly #lag = this.#gauge('nodejs_eventloop_lag_seconds', 'How long the event loop took to come round');
  readonly #paths: Paths;
  readonly #takenNow: () => number;
  readonly #networks: () => Promise<NetworkSummary[]>;
  readonly #dhcpStates: Renewal['states'];
  /** When the leases are to be listed again, by performance.now(). */
  #listing = Number.NEGATIVE_INFINITY;
  #looking: Promise<void> | undefined;

  constructor(options: MetricsOptions) {
    const { events, paths, version, identity, underWay, networks, dhcpLeases } = options;
    this.#gauge('weft_agent_info', 'The agent: its version, and the build and place that it serves', [
      'version',
      'identity',
      'pid',
    ]).set({ version, identity, pid: String(process.pid) }, 1);
    this.#paths = paths;
    this.#takenNow = underWay;
    this.#networks = networks;
    this.#dhcpStates = dhcpLeases;
    this.#started.set(Date.now() / 1000 - process.uptime());
    for (const kind of ['rules', 'link', 'lease', 'network']) this.#corrections.inc({ kind }, 0);
    events.listen((event) => this.#count(event));
  }

  readonly contentType = Registry.PROMETHEUS_CONTENT_TYPE;

  /** All of them in Prometheus' text format. */
  async text(): Promise<string> {
    this.#looking ??= this.#look().finally(() => {
      this.#looking = undefined;
    });
    await this.#looking;
    return this.#registry.metrics();
  }

  #count(event: AgentEvent): void {
    if (event.event === 'served') this.#served(event.request);
    else if (event.event === 'refused') this.#refused.inc({ reason: event.why });
    else if (event.event === 'lease') this.#dhcpAttempts.inc({ outcome: event.outcome });
    else this.#corrections.inc({ kind: event.kind }, event.count);
  }

  #served({ plugin, command, code, waited, ran, kernel, abandoned }: Served): void {
    // Anything may stand in CNI_COMMAND: it must not make a series of its own.
    const verb = VERBS.includes(command) ? command : 'other';
    this.#requests.inc({ plugin, verb, code });
    this.#durations.observe({ plugin, verb }, (waited + ran) / 1000);
    this.#kernel.observe({ plugin, verb }, kernel / 1000);
    if (abandoned) this.#abandoned.inc({ plugin, verb });
    if (code !== 0) this.#lastError.set({ plugin, verb, code }, Date.now() / 1000);
  }

  /** What is not counted as it happens is looked at when somebody asks. */
  async #look(): Promise<void> {
    this.#underWay.set(this.#takenNow());
    this.#memory.set(process.memoryUsage.rss());
    const { user, system } = process.cpuUsage();
    this.#cpu.reset();
    this.#cpu.inc((user + system) / 1e6);
    this.#files.set(readdirSync('/proc/self/fd').length);
    this.#fallbacks.reset();
    for (const [reason, count] of fallbackCounts(this.#paths.runDir)) this.#fallbacks.inc({ reason }, count);
    if (performance.now() >= this.#listing) await this.#listLeases();
    await this.#lookAtNetworks();
    this.#dhcpLeases.reset();
    for (const { network, state, count } of this.#dhcpStates())
      this.#dhcpLeases.set({ network, state }, count);
    // Not by a timer, which would wake an idle agent a hundred times a second.
    const asked = performance.now();
    await new Promise((resolve) => setImmediate(resolve));
    this.#lag.set((performance.now() - asked) / 1000);
  }

  async #listLeases(): Promise<void> {
    const began = performance.now();
    const usage = await leaseUsage(this.#paths);
    this.#used.reset();
    this.#free.reset();
    for (const { network, family, used, free } of usage) {
      this.#used.set({ network, family }, used);
      if (free !== undefined) this.#free.set({ network, family }, free);
    }
    const now = performance.now();
    this.#listing = now + LISTING_LASTS * (now - began);
  }

  async #lookAtNetworks(): Promise<void> {
    for (const gauge of [this.#members, this.#endpoints, this.#registryUp, this.#problems]) gauge.reset();
    for (const { name: network, members, endpoints, registry, problems } of await this.#networks()) {
      this.#members.set({ network }, members.length);
      this.#endpoints.set({ network }, endpoints);
      this.#registryUp.set({ network }, registry.reachable ? 1 : 0);
      this.#problems.set({ network }, problems.length);
    }
  }

  #counter(name: string, help: string, labelNames: string[]): Counter {
    return new Counter({ name, help, labelNames, registers: [this.#registry] });
  }

  #gauge(name: string, help: string, labelNames: string[] = []): Gauge {
    return new Gauge({ name, help, labelNames, registers: [this.#registry] });
  }

  #histogram(name: string, help: string): Histogram {
    return new Histogram({
      ...{ name, help, labelNames: ['plugin', 'verb'], buckets: BUCKETS },
      registers: [this.#registry],
    });
  }
}
