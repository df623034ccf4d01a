/** The programs of weft on this host: one build, and an agent that answers. */
import type { Finding } from '../finding.ts';
import type { DoctorView } from './view.ts';

export function software({ software: found }: DoctorView): Finding[] {
  const { agent, agentSocket, agentVersion, version, ours, strangers } = found;
  const about = { safe: false, subject: 'agent' } as const;
  const findings: Finding[] = [];
  if (agent === 'dead') {
    findings.push({
      ...about,
      ...{
        code: 'agent-dead',
        severity: 'warning',
        what: `the agent has ended without removing ${agentSocket}`,
      },
      why: 'plugins do without it, each starts Node; nobody puts back what others remove, nobody renews leases',
      mend: ['weft agent'],
    });
  }
  if (agent === 'silent') {
    findings.push({
      ...about,
      ...{ code: 'agent-silent', severity: 'warning', what: `the agent at ${agentSocket} does not answer` },
      why: 'plugins wait for it, then do without it; its log says what it does',
      mend: [],
    });
  }
  if (agent === 'running' && ours === false) {
    findings.push({
      ...about,
      code: 'agent-of-another-build',
      severity: 'warning',
      what: `the agent (weft ${agentVersion ?? '?'}) is of another build than this command (weft ${version}), or stands in another namespace`,
      why: 'no plugin beside this command asks it: each starts Node, and what the agent repairs is by other rules than theirs',
      mend: [],
    });
  }
  return [...findings, ...strangers.map(ofAnotherBuild(version))];
}

const ofAnotherBuild =
  (version: string) =>
  (path: string): Finding => ({
    code: 'plugin-of-another-build',
    severity: 'warning',
    what: `${path} is of another build than this command (weft ${version})`,
    why: 'runtimes execute plugins of one build, the agent and this command are of another: what one makes the other may not know',
    mend: ['make install'],
    safe: false,
    subject: path,
  });

/** Networks that nothing can be attached to. */
export function configurations({ configurations: all }: DoctorView): Finding[] {
  return all.flatMap(({ file, name, problem }): Finding[] => {
    if (problem === undefined) return [];
    const unreadable = problem.is === 'unreadable';
    return [
      {
        code: unreadable ? 'configuration-unreadable' : 'network-not-ready',
        severity: 'warning',
        what: unreadable
          ? `${file}: ${problem.words.replace(`${file}: `, '')}`
          : `network ${name} (${file}): ${problem.words}`,
        why: 'the next container cannot be attached to it',
        mend: [],
        safe: false,
        subject: name ?? file,
      },
    ];
  });
}
