/** What is told of a registry that does not answer, or not with what can be understood. */
import t from 'tap';
import { Contact } from '../../agent/cluster/contact.ts';
import { RegistryError } from '../../cluster/registry.ts';

t.test('each mistake in a registry is told, as an error; the outage began with the first', async (t) => {
  const lines: string[] = [];
  let now = 1000;
  const contact = new Contact(
    () => now,
    'hosts.yaml',
    (words, { error }, level) => lines.push(`${level}: ${words}${error === undefined ? '' : ` (${error})`}`),
  );
  contact.reached();
  now = 2000;
  for (const mistake of ['line 3', 'line 3', 'line 9']) {
    contact.lost(new RegistryError('invalid', mistake));
    now += 1000;
  }
  t.same(contact.state, { reachable: false, since: 2000, error: 'line 9', invalid: true });
  contact.lost(new RegistryError('unreachable', 'ENOENT'));
  t.same(contact.state, { reachable: false, since: 2000, error: 'ENOENT' });
  contact.lost(new RegistryError('invalid', 'line 9'));
  contact.reached();
  contact.lost(new RegistryError('invalid', 'line 9'));
  const wrong = 'error: the registry cannot be understood: what it said before stays';
  t.same(lines, [
    'info: the registry answers',
    `${wrong} (line 3)`,
    `${wrong} (line 9)`,
    'info: the registry cannot be reached (ENOENT)',
    'info: the registry answers',
    `${wrong} (line 9)`,
  ]);
});
