/** Where plugins are looked for. */
import type { WeftContext } from './context.ts';

/** Where distributions and runtimes put plugins; the reference's, Debian's, Fedora's. */
const USUAL_FOLDERS = ['/opt/cni/bin', '/usr/lib/cni', '/usr/libexec/cni'];

/** `--cni-path`, else CNI_PATH, else beside this weft and then the usual folders. */
export function pluginPath({ ambient, home }: WeftContext, given: string | undefined): string[] {
  const folders = (given ?? ambient.env.CNI_PATH ?? '').split(':').filter((folder) => folder !== '');
  return folders.length > 0 ? folders : [home, ...USUAL_FOLDERS];
}
