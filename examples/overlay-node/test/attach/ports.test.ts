/** Published ports as they are written: Docker's syntax, Docker's words. */
import t from 'tap';
import { choosePorts, parsePort } from '../../attach/ports.ts';

const parse = (text: string) => {
  const { hostAddress, published, port, count, protocol } = parsePort(text);
  const host = published === null ? 'any' : `${published.first}-${published.last}`;
  return `${hostAddress ?? '*'} ${host} -> ${port}x${count}/${protocol}`;
};

t.test('what is written is read', async (t) => {
  const texts: Record<string, string> = {
    '80': '* any -> 80x1/tcp',
    '8080:80': '* 8080-8080 -> 80x1/tcp',
    '8080:80/udp': '* 8080-8080 -> 80x1/udp',
    '8080:80/SCTP': '* 8080-8080 -> 80x1/sctp',
    '127.0.0.1:8080:80': '127.0.0.1 8080-8080 -> 80x1/tcp',
    '127.0.0.1::80': '127.0.0.1 any -> 80x1/tcp',
    '[::1]:8080:80': '::1 8080-8080 -> 80x1/tcp',
    '[2001:db8::1]::80-81': '2001:db8::1 any -> 80x2/tcp',
    '::1:8080:80': '::1 8080-8080 -> 80x1/tcp',
    '8000-8999:9000-9999/udp': '* 8000-8999 -> 9000x1000/udp',
    '8000-8010:80': '* 8000-8010 -> 80x1/tcp',
    '7000-7005': '* any -> 7000x6/tcp',
    '0:80': '* any -> 80x1/tcp',
  };
  for (const [text, wanted] of Object.entries(texts)) t.equal(parse(text), wanted, text);
});

t.test('what makes no sense is refused in the words of Docker', async (t) => {
  const texts: Record<string, string> = {
    '': 'no port specified: <empty>',
    '8080:': 'no port specified: 8080:<empty>',
    'eighty:80': 'invalid hostPort: eighty',
    '8080:http': 'invalid containerPort: http',
    '8080:0': 'invalid containerPort: 0',
    '8080:65536': 'invalid containerPort: 65536',
    '8080:90-80': 'invalid containerPort: 90-80',
    'host:8080:80': 'invalid IP address: host',
    '1.2.3:8080:80': 'invalid IP address: 1.2.3',
    '8000-8002:80-81': 'invalid ranges specified for container and host Ports: 80-81 and 8000-8002',
    '8000:80-81': 'invalid ranges specified for container and host Ports: 80-81 and 8000',
    '8080:80/icmp': 'invalid proto: icmp',
  };
  for (const [text, message] of Object.entries(texts)) {
    t.throws(() => parsePort(text), { code: 'INVALID', message }, text);
  }
});

t.test('ports are chosen among those that are free', async (t) => {
  const used = new Set(['tcp 8000', 'tcp 49154', 'udp 49153']);
  const isFree = async (protocol: string, _: string | null, port: number) => !used.has(`${protocol} ${port}`);
  const choose = async (...texts: string[]) =>
    (await choosePorts(texts.map(parsePort), isFree)).map(
      ({ published, count, port }) => `${published}x${count}:${port}`,
    );
  t.same(await choose('8080:80'), ['8080x1:80']);
  t.same(await choose('8000:80'), ['8000x1:80'], 'one that was named is taken as it is');
  t.same(await choose('8000-8005:80', '8000-8005:81'), ['8001x1:80', '8002x1:81']);
  t.same(await choose('80', '81', '90-91'), ['49153x1:80', '49155x1:81', '49156x2:90']);
  t.same(await choose('90-91', '53/udp'), ['49155x2:90', '49154x1:53']);
  t.same(await choose('80', '49153:81'), ['49153x1:81', '49155x1:80'], 'after those that were named');
  await t.rejects(choose('8000-8001:80', '8000-8001:81'), {
    code: 'FULL',
    message: 'all ports are allocated: no port of 8000-8001/tcp is free on this host',
  });
});
