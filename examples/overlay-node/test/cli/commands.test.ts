/** Command lines become requests, and answers become what people and programs read. */
import t, { type Test } from 'tap';
import { CONTAINER, NETWORK, NODES, type Outcome, StandIn, type } from './stand-in.ts';

const answers: Readonly<Record<string, unknown>> = {
  'POST /v1/networks': NETWORK,
  'GET /v1/networks': [NETWORK],
  'DELETE /v1/networks/:name': {},
  'POST /v1/networks/:name/connect': {},
  'POST /v1/networks/:name/disconnect': {},
  'POST /v1/containers': CONTAINER,
  'GET /v1/containers': [CONTAINER],
  'DELETE /v1/containers/web': {},
  'GET /v1/containers/web/wait': { code: 3 },
  'POST /v1/init': { token: 'T', line: 'packetweave join T 192.0.2.1' },
  'POST /v1/join': { version: '0.1.0', node: NODES[0] },
  'POST /v1/leave': {},
  'GET /v1/token': { token: 'T', line: 'packetweave join T 192.0.2.1' },
  'POST /v1/token/rotate': { token: 'U', line: 'packetweave join U 192.0.2.1' },
  'GET /v1/nodes': NODES,
  'GET /v1/info': { version: '0.1.0', node: NODES[0] },
  'DELETE /v1/nodes/:id': {},
  'POST /v1/store/migrate': {},
  'GET /v1/peers': [
    {
      node: NODES[1].id,
      name: 'beta',
      address: '192.0.2.2',
      alive: true,
      networks: ['demo'],
      encrypted: true,
    },
  ],
  'GET /v1/doctor': [{ name: 'store', ok: false, found: 'away', advice: 'start it' }],
};

const start = (t: Test) =>
  StandIn.start(t, (server) => {
    for (const [route, answer] of Object.entries(answers)) {
      const [method, url] = route.split(' ');
      server.route({ method, url, handler: async (_, reply) => reply.send(answer) });
    }
  });

/** [what is typed, what is asked] */
const REQUESTS: readonly [string, string, string, unknown][] = [
  ['network create demo', 'POST', '/v1/networks', { name: 'demo' }],
  [
    'network create -d overlay --attachable --subnet 10.0.1.0/24 --subnet fd00:1::/64 --ip-range 10.0.1.128/25 ' +
      '--gateway 10.0.1.1 --aux-address router=10.0.1.9 --ipv6 --internal --label a=b --label c -o encrypted ' +
      '--opt mtu=1400 demo',
    'POST',
    '/v1/networks',
    {
      name: 'demo',
      driver: 'overlay',
      attachable: true,
      internal: true,
      ipv6: true,
      subnets: ['10.0.1.0/24', 'fd00:1::/64'],
      ranges: ['10.0.1.128/25'],
      gateways: ['10.0.1.1'],
      auxiliary: ['router=10.0.1.9'],
      labels: { a: 'b', c: '' },
      options: { encrypted: '', mtu: '1400' },
    },
  ],
  ['network rm demo', 'DELETE', '/v1/networks/demo', undefined],
  ['network rm a/b?c', 'DELETE', '/v1/networks/a%2Fb%3Fc', undefined],
  [
    'network connect --alias www --ip 10.0.1.5 demo web',
    'POST',
    '/v1/networks/demo/connect',
    { container: 'web', aliases: ['www'], ip: '10.0.1.5' },
  ],
  ['network disconnect demo web', 'POST', '/v1/networks/demo/disconnect', { container: 'web' }],
  ['ps', 'GET', '/v1/containers?all=false', undefined],
  ['ps -aq', 'GET', '/v1/containers?all=true', undefined],
  ['rm -f web', 'DELETE', '/v1/containers/web?force=true', undefined],
  ['wait web', 'GET', '/v1/containers/web/wait', undefined],
  [
    'attach --netns 4711 --network demo --name db --network-alias sql -p 5432:5432',
    'POST',
    '/v1/containers',
    {
      networks: ['demo'],
      command: [],
      namespace: '4711',
      name: 'db',
      aliases: ['sql'],
      publish: ['5432:5432'],
    },
  ],
  ['init', 'POST', '/v1/init', {}],
  [
    'init --advertise eth1 --store etcd://a:2379',
    'POST',
    '/v1/init',
    { store: 'etcd://a:2379', advertise: 'eth1' },
  ],
  ['join T 192.0.2.1:2377', 'POST', '/v1/join', { token: 'T', store: '192.0.2.1:2377' }],
  ['leave --force', 'POST', '/v1/leave', { force: true }],
  ['token', 'GET', '/v1/token', undefined],
  ['token rotate', 'POST', '/v1/token/rotate', {}],
  ['store migrate etcd://a:2379', 'POST', '/v1/store/migrate', { to: 'etcd://a:2379' }],
];

t.test('what is typed is what is asked', async (t) => {
  const daemon = await start(t);
  for (const [typed, method, url, body] of REQUESTS) {
    const { code, stderr } = await daemon.type(...typed.split(' '));
    t.same({ code, stderr }, { code: 0, stderr: '' }, typed);
    t.strictSame(daemon.last(), { method, url, body }, typed);
  }
});

t.test('run in the background: the command keeps its own options', async (t) => {
  const daemon = await start(t);
  const words =
    'run -d --rm --network demo --network back --name web --network-alias www --ip 10.0.1.5 --ip6 fd00:1::5 ' +
    '--mac-address 02:42:0a:00:01:05 -h box --dns 10.0.1.9 -p 8080:80 -p 53:53/udp -e A=b=c -e HOME -e NOPE ' +
    '-w / -l tier=web ls -l --rm';
  const env = { PACKETWEAVE_SOCKET: daemon.socket, PATH: process.env.PATH, HOME: '/root' };
  t.same(await type(words.split(' '), env), { code: 0, stdout: `${CONTAINER.id}\n`, stderr: '' });
  t.strictSame(daemon.last().body, {
    networks: ['demo', 'back'],
    command: ['ls', '-l', '--rm'],
    directory: '/',
    name: 'web',
    aliases: ['www'],
    ip: '10.0.1.5',
    ip6: 'fd00:1::5',
    mac: '02:42:0a:00:01:05',
    hostname: 'box',
    dns: ['10.0.1.9'],
    publish: ['8080:80', '53:53/udp'],
    labels: { tier: 'web' },
    environment: { PATH: process.env.PATH, A: 'b=c', HOME: '/root' },
    remove: true,
    detach: true,
  });
  await type(['run', '-d', '--network', 'demo', '--', 'ls', '-l'], env);
  t.match(daemon.last().body, { command: ['ls', '-l'], directory: '/tmp' });
});

t.test('tables', async (t) => {
  const daemon = await start(t);
  const lines = async (...words: string[]) => (await daemon.type(...words)).stdout.split('\n').slice(0, -1);
  t.same(await lines('network', 'ls'), [
    'NETWORK ID     NAME      DRIVER    SCOPE',
    'aaaaaaaaaaaa   demo      overlay   swarm',
  ]);
  t.same(await lines('network', 'ls', '-q', '--no-trunc'), [NETWORK.id]);
  t.same(await lines('ps', '-q'), ['cccccccccccc']);
  t.same(await lines('ps'), [
    'CONTAINER ID   COMMAND                  CREATED         STATUS         ADDRESSES             ' +
      'PORTS                                              NAMES',
    'cccccccccccc   "python3 -m http.ser…"   2 minutes ago   Up 2 minutes   10.0.1.2, fd00:1::2   ' +
      '8080->80/tcp, 127.0.0.1:6000-6001->5000-5001/udp   web',
  ]);
  t.same(await lines('node', 'ls'), [
    'ID               HOSTNAME   STATUS    ADDRESS     MTU       JOINED        VERSION',
    '0123456789ab *   alpha      Ready     192.0.2.1   1500      3 hours ago   0.1.0',
    '0123ffffffff     beta       Down      192.0.2.1   1500      3 hours ago   0.1.0',
  ]);
  t.same(await lines('peers'), [
    'NODE           HOSTNAME   ADDRESS     STATUS    ENCRYPTED   NETWORKS',
    '0123ffffffff   beta       192.0.2.2   Ready     yes         demo',
  ]);
  t.same(await lines('wait', 'web'), ['3']);
  t.same(await lines('token', '-q'), ['T']);
  t.match((await lines('init')).join('\n'), /\n {4}packetweave join T 192\.0\.2\.1/);
});

t.test('programs read JSON', async (t) => {
  const daemon = await start(t);
  const json = async (...words: string[]) => JSON.parse((await daemon.type(...words)).stdout);
  t.same(await json('network', 'ls', '--json'), [NETWORK]);
  t.same(await json('--json', 'ps'), [CONTAINER]);
  t.same(await json('network', 'create', 'demo', '--json'), NETWORK);
  t.same(await json('token', 'rotate', '--json'), answers['POST /v1/token/rotate']);
  t.match(await json('version', '--json'), { client: '0.1.0', daemon: '0.1.0', node: process.versions.node });
});

t.test('colours are for terminals, and for who wants them', async (t) => {
  const daemon = await start(t);
  const env = { PACKETWEAVE_SOCKET: daemon.socket };
  const coloured = (outcome: Outcome) => outcome.stdout.includes('\x1b[32mReady\x1b[0m');
  t.ok(coloured(await type(['peers'], env, true)));
  t.notOk(coloured(await type(['peers'], { ...env, NO_COLOR: '1' }, true)));
  t.notOk(coloured(await type(['peers'], env)));
});

t.test('nodes by name, or by what their ids begin with', async (t) => {
  const daemon = await start(t);
  t.match(await daemon.type('node', 'rm', '--force', 'beta'), { code: 0, stdout: 'beta\n' });
  t.match(daemon.asked.splice(0)[1], { method: 'DELETE', url: '/v1/nodes/0123ffffffff?force=true' });
  t.match(await daemon.type('node', 'rm', '0123f'), { code: 0 });
  const outcome = await daemon.type('node', 'rm', '0123', 'gamma');
  t.equal(outcome.code, 1);
  t.equal(
    outcome.stderr,
    'packetweave: node 0123 is ambiguous: say one of the ids 0123456789ab, 0123ffffffff\n' +
      'packetweave: node gamma not found\n',
  );
});

t.test('one failure does not keep the others', async (t) => {
  const daemon = await start(t);
  t.same(await daemon.type('rm', 'nope', 'web'), {
    code: 1,
    stdout: 'web\n',
    stderr: 'packetweave: nope not found\n',
  });
});

t.test('what is typed wrong is told in one line, with 2', async (t) => {
  const wrong: readonly [string, RegExp, number?][] = [
    ['network create', /^packetweave: missing required argument 'name'\n$/],
    ['network create --foo x', /^packetweave: unknown option '--foo'\n$/],
    ['netwrk ls', /^packetweave: unknown command 'netwrk' \(Did you mean network\?\)\n$/],
    ['network create --label =x a', /^packetweave: --label expected KEY or KEY=VALUE, got "=x"\n$/],
    ['network create --aux-address x a', /^packetweave: --aux-address expected NAME=ADDRESS, got "x"\n$/],
    ['-H tcp://1.2.3.4 ps', /^packetweave: --host expected unix:\/\/PATH, got "tcp:\/\/1.2.3.4"\n$/],
    ['stats --interval 0', /^packetweave: --interval expected a number of at least 0.1, got "0"\n$/],
    ['completion tcsh', /^packetweave: completion expected bash, zsh or fish, got "tcsh"\n$/],
    ['up --mtu 70', /^packetweave: --mtu expected an integer 576..65535, got 70\n$/],
    ['attach --network a', /^packetweave: required option '--netns <name\|pid>' not specified\n$/],
    ['run --network a', /^packetweave: missing required argument 'command'\n$/, 125],
    ['-H unix:///nope run --network a -x', /^packetweave: unknown option '-x'\n$/, 125],
    ['node', /^Usage: packetweave node/],
  ];
  for (const [typed, stderr, code = 2] of wrong) {
    t.match(await type(typed.split(' '), {}), { code, stdout: '', stderr }, typed);
  }
  t.match(await type(['network', 'create', '--help'], {}), {
    code: 0,
    stdout: /--subnet <cidr>/,
    stderr: '',
  });
});

t.test('the daemon has a doctor, too', async (t) => {
  const daemon = await start(t);
  const { code, stdout } = await daemon.type('doctor');
  t.equal(code, 1);
  t.match(stdout, /^ok +daemon: answers on .*daemon\.sock$/m);
  t.match(stdout, /^FAIL store: away\n +start it$/m);
  t.notMatch(stdout, /udp/);
});
