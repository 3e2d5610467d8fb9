/**
 * Open vSwitch's user-space datapath with VXLAN, as its documentation lays it: the wire is a port of one
 * bridge, whose own interface has the underlay's address, and the tunnel is a port of another. Each host has
 * a database and a daemon of its own, with all their files in a folder of the stage.
 */
import { join } from 'node:path';
import { HOSTS, type Host, other, type Stage, UNDERLAY, WIRE } from '../stage.ts';
import { APT, needs, type Path } from './path.ts';

const SCHEMA = '/usr/share/openvswitch/vswitch.ovsschema';
const OUTER = 'outer0';
const INNER = 'inner0';

async function host(stage: Stage, name: Host): Promise<void> {
  const folder = stage.folder();
  const database = join(folder, 'conf.db');
  const socket = `unix:${join(folder, 'db.sock')}`;
  const env = { OVS_RUNDIR: folder, OVS_DBDIR: folder, OVS_LOGDIR: folder, OVS_SYSCONFDIR: folder };
  const vsctl = (command: string) =>
    stage.sh(name, `ovs-vsctl --db=${socket} --retry --timeout=20 ${command}`);
  stage.sh(name, `ovsdb-tool create ${database} ${SCHEMA}`);
  const control = (of: string) => `--unixctl=${join(folder, `${of}.ctl`)}`;
  stage.daemon(name, ['ovsdb-server', database, `--remote=p${socket}`, control('ovsdb')], env);
  vsctl('--no-wait init');
  stage.daemon(name, ['ovs-vswitchd', socket, control('vswitchd')], env);
  vsctl(`add-br ${OUTER} -- set bridge ${OUTER} datapath_type=netdev -- add-port ${OUTER} ${WIRE}`);
  stage.sh(name, `ip addr del ${UNDERLAY[name]}/24 dev ${WIRE}`);
  stage.sh(name, `ip addr add ${UNDERLAY[name]}/24 dev ${OUTER}`);
  stage.sh(name, `ip link set ${OUTER} up`);
  const ends = `options:local_ip=${UNDERLAY[name]} options:remote_ip=${UNDERLAY[other(name)]} options:key=42`;
  vsctl(
    `add-br ${INNER} -- set bridge ${INNER} datapath_type=netdev -- add-port ${INNER} vx0 ` +
      `-- set interface vx0 type=vxlan ${ends} -- set interface ${INNER} mtu_request=1450`,
  );
  stage.settle(name, INNER);
}

export const ovs: Path = {
  name: 'ovs',
  missing: () => needs(['ovs-vswitchd', 'ovsdb-server', 'ovs-vsctl'], `${APT} openvswitch-switch`),
  async lay(stage) {
    for (const name of HOSTS) await host(stage, name);
  },
};
