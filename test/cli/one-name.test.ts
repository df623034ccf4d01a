/** Two files of the configuration folder have one network's name. */
import t from 'tap';
import { makeGround } from '../runtime/fake-plugins.ts';
import { weft } from './weft.ts';

t.test('of two files with one name the one that is not used is named', async (t) => {
  const g = makeGround(t);
  g.plugin('good');
  const used = g.write('10-a.conflist', { name: 'net', cniVersion: '1.0.0', plugins: [{ type: 'good' }] });
  const other = g.write('20-b.conflist', { name: 'net', cniVersion: '1.0.0', plugins: [{ type: 'bad' }] });
  const words = `weft: warning: ${other} is not used: network net is that of ${used}, which comes first\n`;
  const listed = await weft(g.ambient, 'net', 'list');
  t.match(listed, { status: 0, err: words });
  t.match(listed.out, used);
  t.match(listed.out, other, 'both are listed');
  t.match(await weft(g.ambient, 'net', 'status', 'net', '--cni-path', g.bin), { status: 0, err: words });
  t.equal(
    (await weft(g.ambient, 'net', 'status', other, '--cni-path', g.bin)).err.includes('warning'),
    false,
  );
  t.match((await weft(g.ambient, 'status')).out, other, 'weft status notes it');
});
