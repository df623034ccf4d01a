/** `weft doctor` on hosts of networks between hosts: healthy where they are. */
import { join } from 'node:path';
import t from 'tap';
import { BIN, conflist, type LabHost, makeLab, members, reach } from '../agent/cluster-lab.ts';
import { weftIsMissing } from '../support/plugins.ts';

const skip = await weftIsMissing();
const STRETCHED = { pools: [{ prefix: '10.244.0.0/16' }, { prefix: 'fd00:244::/64' }] };

interface Said {
  status: number;
  found: string[];
}

async function doctor(host: LabHost, ...flags: string[]): Promise<Said> {
  const { status, stdout, stderr } = await host.exec(join(BIN, 'weft'), ['doctor', '--json', ...flags], {
    mayFail: true,
  });
  if (stdout === '') throw new Error(stderr);
  const { findings } = JSON.parse(stdout) as { findings: { code: string; severity: string; what: string }[] };
  return {
    status,
    found: findings.flatMap(({ severity, code, what }) => (severity === 'note' ? [] : [`${code}: ${what}`])),
  };
}

for (const [title, plugin] of [
  ['vxlan', { type: 'vxlan' }],
  ['stretched', { type: 'vxlan', mode: 'l2', vni: 7, ...STRETCHED }],
  ['routed', { type: 'routed' }],
] as const) {
  t.test(`${title}: healthy, also by the registry`, { skip }, async (t) => {
    const lab = await makeLab(t);
    const [a, b] = await members(lab, 2, conflist(plugin));
    if (!a || !b) return;
    const [one, two] = await Promise.all([a.add(), b.add()]);
    await reach(one, two);
    for (const host of [a, b]) t.same(await doctor(host), { status: 0, found: [] }, host.node);
    t.same(await doctor(a, '--registry', lab.registry), { status: 0, found: [] }, 'by the registry itself');
  });
}
