import { test } from 'tap';
import { isStoreUrl, openEtcd, parseStoreUrl, redact } from '../../../control/store/locate.ts';

test('addresses of an etcd', async (t) => {
  const plain = { prefix: '/packetweave/', tls: null, user: null };
  const a = { host: 'a', port: 2379 };
  const good: [string, object][] = [
    ['etcd://a:2379,b:1', { ...plain, addresses: [a, { host: 'b', port: 1 }] }],
    ['etcd://a', { ...plain, addresses: [a] }],
    ['etcd://a/', { ...plain, addresses: [a] }],
    ['etcd://a/x/y.z', { ...plain, addresses: [a], prefix: '/x/y.z/' }],
    ['etcd://a/x/', { ...plain, addresses: [a], prefix: '/x/' }],
    [
      'etcd://[fd00::1]:5,10.0.0.1',
      {
        ...plain,
        addresses: [
          { host: 'fd00::1', port: 5 },
          { host: '10.0.0.1', port: 2379 },
        ],
      },
    ],
    ['etcds://a', { ...plain, addresses: [a], tls: {} }],
    [
      'etcds://me%40x:p%2Fw:%25@a/x?ca=/etc/ca.pem&cert=c.pem&key=k.pem',
      {
        addresses: [a],
        prefix: '/x/',
        tls: { ca: '/etc/ca.pem', cert: 'c.pem', key: 'k.pem' },
        user: { name: 'me@x', password: 'p/w:%' },
      },
    ],
  ];
  for (const [text, wanted] of good) t.strictSame(parseStoreUrl(text), wanted, text);
  t.equal(openEtcd('etcds://me:secret@a,[fd00::1]/x').name, 'etcds://a:2379,[fd00::1]:2379');
});

test('what is none', async (t) => {
  const bad: [string, RegExp][] = [
    ['', /not the address of an etcd/],
    ['http://a', /not the address of an etcd/],
    ['etcd:a', /not the address of an etcd/],
    ['etcd://a#x', /not the address of an etcd/],
    ['etcd://', /"" is not HOST/],
    ['etcd://a,', /"" is not HOST/],
    ['etcd://a,,b', /"" is not HOST/],
    ['etcd://a:0', /"a:0" is not HOST/],
    ['etcd://a:65536', /"a:65536" is not HOST/],
    ['etcd://a:x', /"a:x" is not HOST/],
    ['etcd://fd00::1', /"fd00::1" is not HOST/],
    ['etcd://a,a:2379', /a:2379 is there twice/],
    ['etcd://a//b', /prefix "\/\/b"/],
    ['etcd://a/ä', /prefix "\/ä"/],
    [`etcd://a/${'x'.repeat(300)}`, /prefix/],
    ['etcd://a?ca=x', /TLS need etcds/],
    ['etcds://a?ca=', /"ca" needs a file/],
    ['etcds://a?ca=x&ca=y', /"ca" is there twice/],
    ['etcds://a?insecure=1', /"insecure" is not known/],
    ['etcds://a?cert=x', /"cert" and "key" come together/],
    ['etcds://me@a', /USER:PASSWORD/],
    ['etcds://:secret@a', /USER:PASSWORD/],
    ['etcds://me:@a', /USER:PASSWORD/],
    ['etcds://me:secret%@a', /%25/],
    ['etcds://me:sec/ret@a', /%2F/],
    ['etcds://me:sec@ret@a', /%40/],
  ];
  for (const [text, message] of bad) {
    t.throws(() => parseStoreUrl(text), { code: 'INVALID', message }, text);
    try {
      parseStoreUrl(text);
    } catch (error) {
      t.notMatch((error as Error).message, /secret|sec.ret/, 'no password');
    }
  }
  t.throws(() => openEtcd('etcds://a?ca=/nowhere/ca.pem'), { code: 'INVALID', message: /nowhere.*PEM/ });
});

test('what is meant as one, and what people see of it', async (t) => {
  t.strictSame(['etcd://a', 'etcds://?', 'etcd:', 'a:2377', '10.0.0.1', 'etcd'].map(isStoreUrl), [
    true,
    true,
    true,
    false,
    false,
    false,
  ]);
  t.equal(redact('etcds://me:secret@a:1/x?ca=y'), 'etcds://me:***@a:1/x?ca=y');
  t.equal(redact('etcds://me:a:b@c@a:1'), 'etcds://me:***@a:1');
  t.equal(redact('etcd://a:1,b:2/x'), 'etcd://a:1,b:2/x');
});
