/** `weft demo container`: what a container is, shown with a few of them on a simulated host, and taken away again. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { CniError, ErrorCode } from '../../../cni/errors.ts';
import type { WeftContext } from '../../context.ts';
import { interrupted } from '../interruption.ts';
import { Lab } from '../lab.ts';
import { Progress } from '../progress.ts';
import { Ground } from './ground.ts';
import { showEnd, showFiles, showInit, showUsers } from './isolation.ts';
import { showLimits } from './limits.ts';
import { showWeb } from './web.ts';

export async function demoContainer(this: WeftContext): Promise<Error | undefined> {
  const started = this.ambient.now();
  const weft = join(this.home, 'weft');
  if (!existsSync(weft)) {
    throw new CniError(ErrorCode.program, `there is no executable ${weft}: run "make build" first`);
  }
  const progress = new Progress(this.terminal);
  const interruption = interrupted(this.terminal);
  const lab = await Lab.open(this.ambient, this.home, {
    ...{ places: ['host'], hosts: { host: '' }, needs: ['ip', 'nsenter'] },
    build: async () => {},
  }).catch((error) => {
    interruption.forget();
    throw error;
  });
  const ground = new Ground(lab, progress, weft);
  try {
    progress.line(`A simulated host in ${lab.folder}: the network of this machine is not touched`);
    await Promise.race([show(ground), interruption.promise]);
  } finally {
    await ground.close();
    interruption.forget();
  }
  const { passed, failed } = progress;
  if (failed > 0) return new CniError(ErrorCode.checkFailed, `${failed} of ${failed + passed} checks failed`);
  const seconds = ((this.ambient.now() - started) / 1000).toFixed(1);
  progress.title(`All ${passed} checks passed in ${seconds} s`);
  return undefined;
}

async function show(ground: Ground): Promise<void> {
  await showWeb(ground);
  await showLimits(ground);
  await showFiles(ground);
  await showUsers(ground);
  await showInit(ground);
  await showEnd(ground);
}
