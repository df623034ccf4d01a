/** Intermediate functional blocks: links that send on what filters redirect to them, from where it came (drivers/net/ifb.c). */
import type { Op } from './door.ts';
import { create, type Link, type NewLink } from './link.ts';

/** Makes an ifb and reads it back; EEXIST when the name is taken, EOPNOTSUPP when the kernel has none. */
export function createIfb(link: NewLink): Op<Link> {
  return create(link, `create ifb ${link.name}`, { info: { kind: 'ifb' } });
}
