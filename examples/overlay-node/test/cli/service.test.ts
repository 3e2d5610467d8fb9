/** The unit: systemd reads it, and it starts what is there. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import t from 'tap';
import { has, skip } from '../../../../test/gen/skip.ts';
import { type } from './stand-in.ts';

const path = new URL('../../packetweave.service', import.meta.url).pathname;
const unit = readFileSync(path, 'utf8');

t.test('commands survive the daemon, and a usage error is not tried again', async (t) => {
  t.match(unit, /^KillMode=process$/m);
  t.match(unit, /^Restart=always$/m);
  t.match(unit, /^StateDirectory=packetweave$/m);
  t.equal(
    (await type(['up', '--mtu', '70'], {})).code,
    Number(/^RestartPreventExitStatus=(\d+)$/m.exec(unit)?.[1]),
  );
});

t.test('systemd reads it', async (t) => {
  if (!has('systemd-analyze')) return skip(t, 'systemd-analyze is not installed');
  const { status, stderr } = spawnSync('systemd-analyze', ['verify', path], {
    encoding: 'utf8',
    timeout: 60_000,
  });
  // It tells of other units of the machine, too.
  const ours = stderr.split('\n').filter((line) => line.includes('packetweave'));
  t.same({ status, ours }, { status: 0, ours: [] });
});
