import t from 'tap';
import { Seldom } from '../../../lib/core/log.ts';

t.test('one line a second of each kind', async (t) => {
  const seldom = new Seldom(2);
  t.ok(seldom.due(0, 0));
  t.notOk(seldom.due(0, 999));
  t.ok(seldom.due(1, 999), 'another kind');
  t.ok(seldom.due(0, 1000));
  t.notOk(seldom.due(0, 1999));
});
