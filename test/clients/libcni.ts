/** The reference's own library, as the runtimes of this world use it. */
import { join } from 'node:path';
import { type Container, type ExecResult, exec, type Host } from '../support/host.ts';

export interface Libcni {
  /** Runs a verb on the whole chain of a conflist; throws with the library's words unless `mayFail`. */
  run(
    verb: 'ADD' | 'CHECK' | 'DEL',
    conflist: string,
    container: Container,
    options?: { mayFail?: boolean },
  ): Promise<ExecResult>;
}

/** What Go has compiled of the library: the second build is quick. */
const GO_CACHE = join(import.meta.dirname, '../../build/go-cache');

/** Builds the program in `libcni/` from the library's sources as Debian has them, without network. */
export async function buildLibcni(host: Host): Promise<Libcni> {
  const file = join(host.root, 'libcni-client');
  await exec('go', ['build', '-o', file, join(import.meta.dirname, 'libcni', 'main.go')], {
    env: {
      GO111MODULE: 'off',
      GOPATH: '/usr/share/gocode',
      GOCACHE: GO_CACHE,
      GOPROXY: 'off',
      CGO_ENABLED: '0',
    },
    timeout: 60_000,
  });
  return {
    run: (verb, conflist, container, options = {}) =>
      host.exec(file, [verb, conflist, container.id, container.netns, 'eth0'], {
        env: { CNI_PATH: host.dirs.bin, CACHE_DIR: host.dirs.cache },
        ...options,
      }),
  };
}
