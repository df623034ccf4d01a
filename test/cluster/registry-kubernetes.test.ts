import t from 'tap';
import { inNamespace } from '../support/in-namespace.ts';

await inNamespace(t, new URL('./kubernetes-suite.ts', import.meta.url));
