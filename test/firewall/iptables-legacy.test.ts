import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { iptablesBackend } from '../../firewall/iptables.ts';
import { masqueradeSuite } from './suite.ts';

// A host whose administrator chose legacy iptables.
const programs = mkdtempSync(join(tmpdir(), 'weft-t-'));
t.teardown(() => rmSync(programs, { recursive: true }));
for (const family of ['iptables', 'ip6tables']) {
  for (const tool of ['', '-save', '-restore']) {
    symlinkSync(`/usr/sbin/${family}-legacy${tool}`, join(programs, `${family}${tool}`));
  }
}

masqueradeSuite(t, {
  programs,
  make: iptablesBackend,
  flushes: [
    'iptables -t nat -F; ip6tables -t nat -F',
    'iptables -t nat -F POSTROUTING; ip6tables -t nat -F POSTROUTING',
  ],
  native: true,
  typed: true,
  process: 'iptables',
  crowd: 2,
});
