/** Asks the agent of this host for its metrics. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { parseExposition, type Sample, select } from '../../agent/exposition.ts';
import { metricsSocket } from '../../agent/metrics-server.ts';

/** Milliseconds; an agent answers in a few. */
const PATIENCE = 3000;

/** The metrics, or why there are none: nobody ever listened, one did and is dead, or we may not ask. */
export type Scraped =
  | { state: 'running'; samples: Sample[] }
  | { state: 'absent' | 'dead' | 'silent' | 'forbidden' };

export async function scrape(runDir: string): Promise<Scraped> {
  try {
    return { state: 'running', samples: parseExposition(await get(metricsSocket(runDir))) };
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EACCES' || code === 'EPERM') return { state: 'forbidden' };
    if (code === 'ECONNREFUSED') return { state: 'dead' };
    if (code === 'ENOENT') return { state: existsSync(join(runDir, 'agent.sock')) ? 'dead' : 'absent' };
    return { state: 'silent' };
  }
}

async function get(socketPath: string): Promise<string> {
  const { request } = await import('node:http');
  return await new Promise((resolve, reject) => {
    const options = {
      socketPath,
      path: '/metrics',
      headers: { Host: 'agent' },
      agent: false,
      timeout: PATIENCE,
    };
    const asked = request(options, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString('utf8');
        if (response.statusCode === 200) resolve(text);
        else reject(new Error(`status ${response.statusCode}: ${text}`));
      });
    });
    asked.on('timeout', () => asked.destroy(new Error('no answer')));
    asked.on('error', reject);
    asked.end();
  });
}

/** Who the agent is. */
export interface AgentFacts {
  pid: number;
  version: string;
  identity: string;
  /** Seconds since the epoch. */
  started: number;
  /** Bytes. */
  memory: number;
}

export function agentFacts(samples: readonly Sample[]): AgentFacts {
  const { pid, version = '', identity = '' } = select(samples, 'weft_agent_info')[0]?.labels ?? {};
  const one = (name: string) => select(samples, name)[0]?.value ?? 0;
  return {
    ...{ pid: Number(pid), version, identity },
    started: one('process_start_time_seconds'),
    memory: one('process_resident_memory_bytes'),
  };
}
