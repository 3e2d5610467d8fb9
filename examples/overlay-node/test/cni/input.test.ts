/** What the plugin makes of its environment and of its configuration, before it asks anybody. */
import t from 'tap';
import { answer } from '../../cni/plugin.ts';

const ENV = {
  CNI_COMMAND: 'ADD',
  CNI_CONTAINERID: 'some',
  CNI_NETNS: '/run/netns/there-is-none',
  CNI_IFNAME: 'eth0',
  CNI_PATH: '/opt/cni/bin',
};
const CONFIG = { cniVersion: '1.1.0', name: 'demo', type: 'packetweave', socket: '/there/is/none.sock' };

const asked = async (env: Record<string, string | undefined>, config: unknown = CONFIG) => {
  const text = typeof config === 'string' ? config : JSON.stringify(config);
  const { text: said, code } = await answer({ ...ENV, ...env }, async () => text);
  return { code, answer: said === '' ? null : JSON.parse(said) };
};

t.test('VERSION', async (t) => {
  const supportedVersions = ['0.3.1', '0.4.0', '1.0.0', '1.1.0'];
  for (const [config, cniVersion] of [
    [{ cniVersion: '0.4.0' }, '0.4.0'],
    [{ cniVersion: '9.9.9' }, '1.1.0'],
    ['', '1.1.0'],
  ]) {
    const said = await asked({ CNI_COMMAND: 'VERSION', CNI_CONTAINERID: undefined }, config);
    t.same(said, { code: 0, answer: { cniVersion, supportedVersions } });
  }
});

t.test('variables that are missing', async (t) => {
  const needed: Record<string, readonly string[]> = {
    ADD: ['CNI_CONTAINERID', 'CNI_NETNS', 'CNI_IFNAME'],
    CHECK: ['CNI_CONTAINERID', 'CNI_NETNS', 'CNI_IFNAME'],
    DEL: ['CNI_CONTAINERID', 'CNI_IFNAME'],
  };
  for (const [command, names] of Object.entries(needed)) {
    for (const name of names) {
      for (const value of [undefined, '']) {
        const said = await asked({ CNI_COMMAND: command, [name]: value });
        t.match(said, { code: 1, answer: { cniVersion: '1.1.0', code: 4, msg: new RegExp(`: ${name}$`) } });
      }
    }
  }
  t.match(await asked({ CNI_COMMAND: undefined }), { code: 1, answer: { code: 4, msg: /CNI_COMMAND/ } });
  const all = await asked({ CNI_CONTAINERID: '', CNI_NETNS: '', CNI_IFNAME: '' });
  t.match(all.answer.msg, /CNI_CONTAINERID, CNI_IFNAME, CNI_NETNS/, 'all are named at once');
});

t.test('variables that make no sense', async (t) => {
  for (const [name, value] of [
    ['CNI_COMMAND', 'UPDATE'],
    ['CNI_COMMAND', 'toString'],
    ['CNI_CONTAINERID', '../../etc'],
    ['CNI_CONTAINERID', '-a'],
    ['CNI_NETNS', 'relative/path'],
    ['CNI_IFNAME', 'much-too-long-a-name'],
    ['CNI_IFNAME', 'a/b'],
    ['CNI_IFNAME', '..'],
    ['CNI_ARGS', 'IP'],
    ['CNI_ARGS', '=x'],
    ['CNI_ARGS', 'COLOUR=red'],
    ['CNI_ARGS', 'COLOUR=red;IgnoreUnknown=0'],
  ]) {
    const said = await asked({ [name]: value });
    t.match(said, { code: 1, answer: { code: 4 } }, `${name}=${value}: ${said.answer.msg}`);
  }
});

t.test('a configuration that is none', async (t) => {
  for (const text of ['', '  ', '{', 'rubbish', '{"cniVersion": "1.1.0"', '\u0000']) {
    const said = await asked({}, text);
    t.match(said, { code: 1, answer: { cniVersion: '1.1.0', code: 6 } }, JSON.stringify(text));
  }
  for (const config of [
    null,
    [],
    7,
    { ...CONFIG, name: '' },
    { ...CONFIG, name: 'a b' },
    { ...CONFIG, name: undefined },
    { ...CONFIG, name: 7 },
    { ...CONFIG, network: ['demo'] },
    { ...CONFIG, socket: 1 },
    { ...CONFIG, isDefaultGateway: 'yes' },
    { ...CONFIG, prevResult: [] },
    { ...CONFIG, prevResult: { interfaces: ['eth0'] } },
  ]) {
    t.match(await asked({}, config), { code: 1, answer: { code: 7 } }, JSON.stringify(config));
  }
});

t.test('versions', async (t) => {
  for (const cniVersion of [undefined, '0.1.0', '0.2.0', '0.3.0', '1.2.0', '2.0.0', 'latest', '']) {
    const said = await asked({}, { ...CONFIG, cniVersion });
    t.match(said, { code: 1, answer: { cniVersion: '1.1.0', code: 1, details: /supports 0\.3\.1/ } });
  }
  for (const [command, cniVersion] of [
    ['CHECK', '0.3.1'],
    ['GC', '1.0.0'],
    ['STATUS', '0.4.0'],
  ]) {
    const said = await asked({ CNI_COMMAND: command }, { ...CONFIG, cniVersion });
    t.match(said, { code: 1, answer: { cniVersion, code: 1 } }, `${command} of ${cniVersion}`);
  }
});

t.test('without a daemon', async (t) => {
  for (const [command, code] of [
    ['ADD', 5],
    ['DEL', 5],
    ['STATUS', 51],
  ] as const) {
    const said = await asked({ CNI_COMMAND: command });
    t.match(said, { code: 1, answer: { code, msg: /no daemon answers on/ } }, command);
  }
});

t.test('standard input that cannot be read', async (t) => {
  const { text, code } = await answer(ENV, async () => {
    throw new Error('EIO');
  });
  t.match({ code, answer: JSON.parse(text) }, { code: 1, answer: { code: 5, msg: /EIO/ } });
});
