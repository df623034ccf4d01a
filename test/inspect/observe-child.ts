/** Watches in a namespace until it is killed: for a test that does that. Arguments: path of the namespace. */
import { observe } from '../../inspect/observe/observe.ts';
import { openDoor } from '../../netlink/namespace.ts';
import { rulesetOf } from './observe-lab.ts';

const [path = ''] = process.argv.slice(2);
const site = { place: { host: 'this host', namespace: 'it' }, path };
void rulesetOf(site).then((ruleset) =>
  observe(
    {
      tuple: { family: 4, protocol: 'tcp', destination: '192.0.2.1', destinationPort: 80 },
      ...{ rewritten: [], sites: [{ ...site, ruleset }], seconds: 120 },
    },
    { door: openDoor(), pid: process.pid },
  ),
);
