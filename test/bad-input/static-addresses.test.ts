/** Addresses as written in the configuration, or asked for, that cannot be: in the bridge's process, and as a program. */
import t from 'tap';
import { BRIDGE, FIXED } from './configurations.ts';
import { type Fault, single } from './faults.ts';
import { type Row, refuseAll } from './table.ts';

const statics = (rows: readonly Fault[]): Row[] =>
  rows.flatMap(({ ipam, conf, ...row }) => [
    { ...row, plugin: 'bridge', input: { ...BRIDGE, ipam: { type: 'static', ...ipam }, ...conf } },
    { ...row, plugin: 'static', input: { ...FIXED, ipam: { type: 'static', ...ipam }, ...conf } },
  ]);

t.test('static', (t) =>
  refuseAll(t, [
    ...statics([
      single(
        'no prefix',
        { addresses: [{ address: '10.1.0.5' }] },
        /ipam\.addresses\[0\]\.address: found "10\.1\.0\.5", wanted an address with prefix length/,
      ),
      single(
        'length 33',
        { addresses: [{ address: '10.1.0.5/33' }] },
        /ipam\.addresses\[0\]\.address: wanted an address with prefix length such as .*found "10\.1\.0\.5\/33"/,
      ),
      single(
        'no address',
        { addresses: [{ gateway: '10.1.0.1' }] },
        /ipam\.addresses\[0\]\.address: missing/,
      ),
      single(
        'a list of texts',
        { addresses: ['10.1.0.5/24'] },
        /ipam\.addresses\[0\]: found "10\.1\.0\.5\/24", wanted an object/,
      ),
      single(
        'gateway no address',
        { addresses: [{ address: '10.1.0.5/24', gateway: 'gw' }] },
        /ipam\.addresses\[0\]\.gateway: found "gw", wanted an IPv4 or IPv6 address/,
      ),
      single(
        'gateway looks like one',
        { addresses: [{ address: '10.1.0.5/24', gateway: '10.1.0.300' }] },
        /ipam\.addresses\[0\]\.gateway: wanted an IPv4 or IPv6 address, found "10\.1\.0\.300"/,
      ),
      single('gateway of the other family', { addresses: [{ address: '10.1.0.5/24', gateway: 'fd00::1' }] }, [
        /ipam\.addresses\[0\]\.gateway/,
        /fd00::1/,
      ]),
      {
        ...single(
          'CNI_ARGS IP',
          {},
          /CNI_ARGS IP: wanted an address with prefix length .*found "10\.1\.0\.5"/,
        ),
        code: 4,
        env: { CNI_ARGS: 'IP=10.1.0.5' },
      },
      {
        ...single(
          'CNI_ARGS GATEWAY',
          { addresses: [{ address: '10.1.0.5/24' }] },
          /CNI_ARGS GATEWAY: wanted an IPv4 or IPv6 address, found "gw"/,
        ),
        code: 4,
        env: { CNI_ARGS: 'GATEWAY=gw' },
      },
      {
        ...single(
          'runtimeConfig',
          {},
          /runtimeConfig\.ips\[0\]: found "10\.1\.0\.5", wanted an address with prefix length/,
        ),
        conf: { runtimeConfig: { ips: ['10.1.0.5'] } },
      },
      {
        ...single(
          'two addresses in version 0.1.0',
          { addresses: [{ address: '10.1.0.5/24' }, { address: '10.2.0.5/24' }] },
          /cniVersion 0\.1\.0 knows one IPv4/,
        ),
        conf: { cniVersion: undefined },
      },
    ]),
    ...['192.0.2.1', '10.2.0.1'].map(
      (gateway): Row => ({
        name: `the gateway ${gateway} is outside of the subnet`,
        plugin: 'bridge',
        input: { ...BRIDGE, ipam: { type: 'static', addresses: [{ address: '10.1.0.5/24', gateway }] } },
        code: 7,
        says: [/10\.1\.0\.5\/24/, new RegExp(gateway)],
      }),
    ),
  ]),
);
