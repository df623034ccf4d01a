/** The network `demo`, which needs no configuration: `weft run --net demo` works on a host that has none. */

export const DEMO_NETWORK = 'demo';

export const demoNetwork = {
  cniVersion: '1.1.0',
  name: DEMO_NETWORK,
  plugins: [
    {
      type: 'bridge',
      bridge: 'weft-demo',
      isGateway: true,
      ipMasq: true,
      hairpinMode: true,
      ipam: {
        type: 'host-local',
        ranges: [[{ subnet: '10.248.0.0/16' }], [{ subnet: 'fd77:6566:7400::/64' }]],
        routes: [{ dst: '0.0.0.0/0' }, { dst: '::/0' }],
      },
    },
    { type: 'portmap', capabilities: { portMappings: true } },
  ],
} as const;
