import { decode, encode, type Packet } from 'dns-packet';
import fc from 'fast-check';
import t from 'tap';
import { FORMERR, foldedKey, NOTIMP, readQuery, record, replyLimit, writeReply } from '../../dns/message.ts';

const opt = (more = {}) => ({
  type: 'OPT' as const,
  name: '.',
  udpPayloadSize: 1400,
  extendedRcode: 0,
  ednsVersion: 0,
  flags: 0,
  flag_do: false,
  options: [],
  ...more,
});

function query(more: Packet = {}): Buffer {
  return encode({ type: 'query', id: 7, flags: 0x100, questions: [{ type: 'A', name: 'Web' }], ...more });
}

const rcodeOf = (reply: unknown) => (Buffer.isBuffer(reply) ? reply.readUInt16BE(2) & 15 : null);

t.test('a query', async (t) => {
  const plain = readQuery(query());
  t.match(plain, { name: 'Web', type: 1, class: 1, end: 21, edns: null });
  const extended = readQuery(query({ additionals: [opt({ flags: 0x8000 })] }));
  t.match(extended, { edns: { size: 1400, dnssec: true } });
  t.match(readQuery(query({ questions: [{ type: 'NS', name: '.' }] })), { name: '' });
});

t.test('what is malformed is told so, and answers are not answered', async (t) => {
  const good = query({ additionals: [opt()] });
  for (let n = 0; n < good.length; n++) {
    const read = readQuery(good.subarray(0, n));
    if (n < 4) t.equal(read, null, `${n} bytes`);
    else t.equal(rcodeOf(read), FORMERR, `${n} bytes`);
  }
  t.equal(rcodeOf(readQuery(Buffer.concat([good, Buffer.alloc(1)]))), FORMERR, 'more than a message');
  t.equal(rcodeOf(readQuery(query({ additionals: [opt(), opt()] }))), FORMERR, 'OPT twice');
  t.equal(rcodeOf(readQuery(query({ questions: [] }))), FORMERR, 'no question');
  t.equal(readQuery(query({ type: 'response' })), null, 'an answer');
  const update = query();
  update.writeUInt16BE(5 << 11, 2);
  t.equal(rcodeOf(readQuery(update)), NOTIMP, 'another opcode');
  const many = query();
  many.writeUInt16BE(0xffff, 10);
  t.equal(rcodeOf(readQuery(many)), FORMERR, 'more records than there are');
  const pointer = Buffer.concat([query().subarray(0, 12), Buffer.from('c00c00010001', 'hex')]);
  t.equal(rcodeOf(readQuery(pointer)), FORMERR, 'a name that points to itself');
});

t.test('another version of EDNS: BADVERS', async (t) => {
  const reply = readQuery(query({ additionals: [opt({ ednsVersion: 1 })] }));
  const { additionals, rcode } = decode(reply as Buffer) as unknown as Packet & { rcode: string };
  t.equal(rcode, 'NOERROR');
  t.match(additionals?.[0], { type: 'OPT', extendedRcode: 1, ednsVersion: 0 });
});

t.test('a reply has what fits, and says where that is not all', async (t) => {
  const bytes = query();
  const records = Array.from({ length: 40 }, (_, i) => record('A', 600, `10.0.1.${i}`));
  const short = writeReply(bytes, 21, 0, records, replyLimit(null, 'udp'), null);
  t.ok(short.length <= 512);
  t.match(decode(short), {
    id: 7,
    flag_tc: true,
    flag_ra: true,
    flag_rd: true,
    questions: [{ name: 'Web' }],
  });
  t.equal(decode(short).answers?.length, 30);
  t.match(decode(short).answers?.[29], { name: 'Web', type: 'A', ttl: 600, data: '10.0.1.29' });
  const edns = { size: 1232, dnssec: true };
  const long = writeReply(bytes, 21, 0, records, replyLimit(edns, 'udp'), edns);
  t.match(decode(long), {
    flag_tc: false,
    additionals: [{ type: 'OPT', udpPayloadSize: 1232, flag_do: true }],
  });
  t.equal(decode(long).answers?.length, 40);
  t.equal(replyLimit({ size: 0, dnssec: false }, 'udp'), 512);
  t.equal(replyLimit({ size: 65535, dnssec: false }, 'udp'), 4096);
  t.equal(replyLimit(null, 'tcp'), 65535);
});

t.test('keys differ where queries do, but not by id and case', async (t) => {
  const key = (bytes: Buffer) => foldedKey(bytes, 2, bytes.length);
  const ask = (name: string, type = 1, id = 0) => {
    const bytes = query({ questions: [{ type: 'A', name }] });
    bytes.writeUInt16BE(id, 0);
    bytes.writeUInt16BE(type, bytes.length - 4);
    return bytes;
  };
  t.equal(key(ask('web.FRONT', 1, 3)), key(ask('WEB.front', 1, 4)));
  t.not(key(ask('web', 65)), key(ask('web', 97)), 'types that are letters');
  t.not(key(ask('\u00c0')), key(ask('\u00e0')));
  t.equal(foldedKey(Buffer.alloc(600), 2, 600), null);
});

t.test('no bytes break it', async (t) => {
  const sane = fc.uint8Array({ maxLength: 64 }).map((tail) => Buffer.concat([query().subarray(0, 12), tail]));
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 600 }), sane), (any) => {
      const bytes = Buffer.from(any);
      const read = readQuery(bytes);
      foldedKey(bytes, 2, bytes.length);
      if (read !== null && !Buffer.isBuffer(read)) decode(writeReply(bytes, read.end, 0, [], 512, read.edns));
    }),
    { numRuns: 2000 },
  );
  t.pass();
});
