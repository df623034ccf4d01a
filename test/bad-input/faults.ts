/** One mistake in the part of a configuration that is IPAM's. */
import type { Row } from './table.ts';

export type Fault = Omit<Row, 'plugin' | 'input'> & { ipam: object; conf?: object };

export const single = (name: string, ipam: object, says: Row['says']): Fault => ({
  name,
  ipam,
  code: 7,
  says,
});
