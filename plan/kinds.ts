import type { StepKind } from './kind.ts';
import type { Step } from './step.ts';
import { address } from './steps/address.ts';
import { announce } from './steps/announce.ts';
import { bridge } from './steps/bridge.ts';
import { device } from './steps/device.ts';
import { dummy } from './steps/dummy.ts';
import { forward } from './steps/forward.ts';
import { linkUp } from './steps/link-up.ts';
import { macFilter } from './steps/mac-filter.ts';
import { masquerade } from './steps/masquerade.ts';
import { names } from './steps/names.ts';
import { neighbour } from './steps/neighbour.ts';
import { publish } from './steps/publish.ts';
import { route } from './steps/route.ts';
import { shape } from './steps/shape.ts';
import { sourceRoute } from './steps/source-route.ts';
import { sysctl } from './steps/sysctl.ts';
import { tap } from './steps/tap.ts';
import { tune } from './steps/tune.ts';
import { upper } from './steps/upper.ts';
import { veth } from './steps/veth.ts';
import { vlan } from './steps/vlan.ts';
import { vrf } from './steps/vrf.ts';

const KINDS: { readonly [K in Step['kind']]: StepKind<Extract<Step, { kind: K }>> } = {
  bridge,
  veth,
  vlan,
  upper,
  tap,
  dummy,
  device,
  vrf,
  'link-up': linkUp,
  address,
  route,
  neighbour,
  sysctl,
  tune,
  names,
  announce,
  masquerade,
  'mac-filter': macFilter,
  publish,
  forward,
  shape,
  'source-route': sourceRoute,
};

/** What knows how to do a step. */
export function kindOf(step: Step): StepKind {
  // The table pairs each kind with its own step type, which TypeScript cannot follow through a union.
  return KINDS[step.kind] as unknown as StepKind;
}
