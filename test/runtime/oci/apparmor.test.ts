/** What is said of AppArmor profiles before anything is made. */
import t from 'tap';
import { assertProfile } from '../../../runtime/oci/apparmor.ts';

const kernel = (enabled: string | undefined, profiles?: string) => (file: string) =>
  file.endsWith('/enabled') ? enabled : profiles;

t.test('profiles', async (t) => {
  const loaded = kernel(
    'Y\n',
    'containers-default-0.50.1 (enforce)\n/usr/bin/man (complain)\nwith space (enforce)\n',
  );
  for (const name of [undefined, '', 'unconfined', 'containers-default-0.50.1', '/usr/bin/man', 'with space'])
    assertProfile(name, loaded);
  for (const name of [':other:own', 'a//&b']) assertProfile(name, loaded);
  t.throws(() => assertProfile('own', loaded), {
    message:
      'process.apparmorProfile is "own", and no such profile is loaded: load it with apparmor_parser -r FILE',
  });
  assertProfile('own', kernel('Y\n'));
  for (const without of [kernel(undefined), kernel('N\n')]) {
    assertProfile('unconfined', without);
    t.throws(() => assertProfile('own', without), /runs without AppArmor/);
  }
});
