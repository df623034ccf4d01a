import t from 'tap';
import { inNamespace } from '../support/in-namespace.ts';

// They mostly wait.
t.jobs = 2;
await Promise.all(
  ['./etcd-suite.ts', './etcd-faults-suite.ts'].map((suite) =>
    inNamespace(t, new URL(suite, import.meta.url)),
  ),
);
