import { test } from 'tap';
import { makeToken, parseToken } from '../../../control/store/token.ts';

const parts = {
  cluster: '0123456789abcdef0123456789abcdef',
  id: '89abcdef',
  key: Buffer.from(Array.from({ length: 32 }, (_, i) => i)),
  secret: Buffer.alloc(32, 0xa5).toString('base64'),
};

test('there and back', async (t) => {
  const token = makeToken(parts);
  t.match(token, /^PWTKN-1-[0-9a-f]+-[0-9a-f]+-[0-9a-f]+-[0-9a-f]+$/);
  t.strictSame(parseToken(token), parts);
  t.strictSame(parseToken(` ${token}\n`), parts, 'with what a paste brings along');
});

test('damage of any one character, and any truncation', async (t) => {
  const token = makeToken(parts);
  for (let i = 0; i < token.length; i++) {
    for (const other of ['0', '1', 'f', 'F', 'l', '-', ' ']) {
      if (token[i] === other) continue;
      const damaged = token.slice(0, i) + other + token.slice(i + 1);
      if (damaged.trim() !== damaged) continue;
      try {
        parseToken(damaged);
        t.fail(damaged);
      } catch (error) {
        const { code } = error as { code: string };
        if (code !== (i === 6 && /\d/.test(other) ? 'VERSION' : 'INVALID')) t.equal(code, '', damaged);
      }
    }
    t.throws(() => parseToken(token.slice(0, i)), { code: 'INVALID' });
    const [a, b] = [token[i], token[i + 1]];
    if (b === undefined || a === b) continue;
    t.throws(() => parseToken(token.slice(0, i) + b + a + token.slice(i + 2)), 'two that changed places');
  }
});

test('what is wrong is said', async (t) => {
  const token = makeToken(parts);
  t.throws(() => parseToken('SWMTKN-1-abc'), { code: 'INVALID', message: /begins with PWTKN-1-/ });
  t.throws(() => parseToken(token.replace('-1-', '-2-')), { code: 'VERSION', message: /has version 2/ });
  t.throws(() => parseToken(token.slice(0, 100)), { message: /cut off: it has 100 characters, not 187/ });
  t.throws(() => parseToken(`${token}a`), { message: /too long/ });
  t.throws(() => parseToken(`${token.slice(0, 80)}\n${token.slice(80)}`), { message: /line break/ });
  t.throws(() => parseToken(`${token.slice(0, -1)}${token.endsWith('0') ? '1' : '0'}`), {
    message: /typing error/,
  });
  t.throws(() => makeToken({ ...parts, key: Buffer.alloc(31) }), { code: 'INVALID' });
  t.throws(() => makeToken({ ...parts, id: 'xyz' }), { code: 'INVALID' });
});
