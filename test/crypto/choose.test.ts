import t from 'tap';
import type { AeadProvider } from '../../crypto/aead.ts';
import { checkAgainst, chooseProvider, PROVIDERS, type ProviderName } from '../../crypto/choose.ts';
import { noble } from '../../crypto/providers/noble.ts';
import { node } from '../../crypto/providers/node.ts';
import { providers } from './gen.ts';

t.test('the fastest that works', async (t) => {
  const here = providers(t);
  const { provider, refused } = await chooseProvider();
  const works = PROVIDERS.map((name) => here.some((provider) => provider.name.startsWith(name)));
  t.equal(provider.name, PROVIDERS[works.indexOf(true)]);
  t.equal(refused.length, works.indexOf(true), 'and a sentence about each that does not');
});

t.test('forced', async (t) => {
  for (const force of ['node', 'noble'] as const) {
    t.equal((await chooseProvider({ force })).provider.name, force);
  }
  await t.rejects(chooseProvider({ force: 'rot13' as ProviderName }), {
    name: 'TypeError',
    message: '"force" expected one of ipsec-mb, openssl, node, noble, got rot13',
  });
});

t.test('one that computes something else is not chosen', async (t) => {
  checkAgainst(node, noble);
  const wrap = (change: Partial<ReturnType<AeadProvider['key']>>): AeadProvider => ({
    name: 'odd',
    key(...args) {
      const key = noble.key(...args);
      return {
        tagLength: key.tagLength,
        nonce: key.nonce,
        aad: key.aad,
        seal: (...a) => key.seal(...a),
        open: (...a) => key.open(...a),
        close: () => key.close(),
        ...change,
      };
    },
  });
  checkAgainst(wrap({}), noble);
  t.throws(() => checkAgainst(wrap({ seal: () => true }), node), {
    message: 'odd and node do not agree on aes-128-gcm',
  });
  t.throws(() => checkAgainst(wrap({ open: () => false }), node), {
    message: 'odd does not open its own aes-128-gcm',
  });
  const trusting = wrap({});
  const key = trusting.key;
  trusting.key = (...args) => {
    const real = key(...args);
    return { ...real, open: (...a) => real.open(...a) || true };
  };
  t.throws(() => checkAgainst(trusting, node), { message: 'odd opens forged aes-128-gcm' });
});
