/** What a daemon is told: who wins, and how what is wrong is told. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { upOptions } from '../../cli/commands/host.ts';
import { DEFAULTS, daemonOptions, readConfig } from '../../daemon/options.ts';

const folder = t.testdir();
const file = join(folder, 'config.json');
const config = (value: unknown) => {
  writeFileSync(file, typeof value === 'string' ? value : JSON.stringify(value));
  return readConfig(file);
};

t.test('the command line wins over the environment, over the file, over the defaults', async (t) => {
  t.strictSame(daemonOptions({}), DEFAULTS);
  const told = config({ dataPort: 1, espPort: 2, mtu: null, peers: ['192.0.2.2'], socket: '/c' });
  t.strictSame(daemonOptions({ dataPort: 3, mtu: undefined }, told), {
    ...DEFAULTS,
    dataPort: 3,
    espPort: 2,
    peers: ['192.0.2.2'],
    socket: '/c',
  });
  const world = { cwd: '/home', env: { PACKETWEAVE_SOCKET: '/e' } };
  t.equal(upOptions({ config: file }, world).socket, '/e');
  t.equal(upOptions({ config: file, host: 'unix:///h' }, world).socket, '/h');
  t.equal(upOptions({ config: file, socket: 's' }, world).socket, '/home/s');
  const all = upOptions(
    { peer: ['192.0.2.9'], secretFile: 'secret', state: 'state' },
    { cwd: '/home', env: {} },
  );
  t.match(all, { peers: ['192.0.2.9'], secretFile: '/home/secret', state: '/home/state' });
  const docker = (more: object) => upOptions(more, { cwd: '/home', env: {} });
  t.equal(docker({}).dockerPlugin, null);
  t.match(docker({ dockerPlugin: true }), {
    dockerPlugin: '/run/docker/plugins/packetweave.sock',
    dockerEngine: '/var/run/docker.sock',
  });
  t.match(docker({ dockerPlugin: 'p.sock', dockerEngine: 'e.sock' }), {
    dockerPlugin: '/home/p.sock',
    dockerEngine: '/home/e.sock',
  });
  t.notOk('peer' in all || 'config' in all || 'host' in all);
});

t.test('a file that is wrong is told with its name', async (t) => {
  const wrong: readonly [unknown, RegExp][] = [
    ['{', /^config file .*config\.json: .*JSON/],
    [[], /: expected an object, got \[\]$/],
    [{ dataport: 1 }, /: unknown field "dataport"; known are advertise, dataPort, /],
    [{ toString: 1 }, /: unknown field "toString"/],
    [{ dataPort: '1' }, /: "dataPort" expected an integer 1\.\.65535, got "1"$/],
    [{ dataPort: null }, /: "dataPort" expected an integer/],
    [{ mtu: 70 }, /: "mtu" expected an integer 576\.\.65535, got 70$/],
    [{ advertise: 'a name' }, /: "advertise" expected an address or the name of an interface, got "a name"$/],
    [{ state: 'relative' }, /: "state" expected an absolute path, got "relative"$/],
    [{ metrics: '1.2.3.4' }, /: "metrics" expected ADDRESS:PORT/],
    [{ metrics: '1.2.3.4:70000' }, /: "metrics" expected ADDRESS:PORT/],
    [{ logLevel: 'loud' }, /: "logLevel" expected one of fatal, error, /],
    [{ peers: '1.2.3.4' }, /: "peers" expected a list, each an address, got "1\.2\.3\.4"$/],
    [{ peers: ['x'] }, /: "peers" expected a list, each an address, got \["x"\]$/],
    [{ dnsUpstream: ['::1:53:x'] }, /: "dnsUpstream" expected a list/],
  ];
  for (const [value, message] of wrong) {
    t.throws(() => config(value), { code: 'INVALID', message }, JSON.stringify(value));
  }
  t.throws(() => readConfig('/nope'), { code: 'INVALID', message: /^config file \/nope: ENOENT/ });
  t.doesNotThrow(() =>
    config({ metrics: '[::1]:9100', dnsUpstream: ['::1', '1.1.1.1:53', '[::1]:53'], advertise: 'fe80::1' }),
  );
});

t.test('the command line is told by its options', async (t) => {
  t.throws(() => daemonOptions({ logLevel: 'loud' }), { message: /^--log-level expected one of/ });
  t.throws(() => daemonOptions({ peers: ['x'] }), {
    message: /^--peer expected a list, each an address, got \["x"\]/,
  });
  t.throws(() => daemonOptions({ dataPort: 4500 }), { message: /expected two ports, got 4500 for both/ });
  t.throws(() => daemonOptions({ secretFile: '/s' }), { message: /no --peer is given/ });
});
