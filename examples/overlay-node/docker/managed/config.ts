/** What a Docker engine is told of the managed plugin: config.json, in the form of Docker's "Plugin Config Version 1". */

/** Where the engine has the namespaces of containers; it says paths below. */
export const ENGINE = '/var/run/docker';
/** Folder of the host with the state and the control socket. */
export const STATE = '/var/lib/packetweave';

/** What `docker plugin set` can change, each a variable of the environment. */
const VARIABLES: Readonly<Record<string, readonly [description: string, value: string]>> = {
  PACKETWEAVE_OPTIONS: ['more options of "packetweave up", between spaces', ''],
  PACKETWEAVE_TOKEN: ['joins an overlay: as "packetweave init" and "packetweave token" print it', ''],
  PACKETWEAVE_STORE: ['HOST[:PORT] of the host that said "init", or an etcd address', ''],
};

/** Above what containers have: devices and rules, and entering the namespaces of containers. */
const CAPABILITIES = [
  'CAP_NET_ADMIN',
  'CAP_NET_RAW',
  'CAP_NET_BIND_SERVICE',
  'CAP_SYS_ADMIN',
  'CAP_SYS_PTRACE',
];

/** A folder or a file of the host. */
function mount(name: string, description: string, path: string, ...options: readonly string[]): object {
  return { name, description, source: path, destination: path, type: 'bind', options, settable: ['source'] };
}

export function pluginConfig(entrypoint: readonly string[]): object {
  return {
    description: 'packetweave: an overlay network over many hosts',
    documentation: '',
    entrypoint,
    workdir: '/',
    interface: {
      types: ['docker.networkdriver/1.0', 'docker.ipamdriver/1.0'],
      socket: 'packetweave.sock',
    },
    network: { type: 'host' },
    linux: {
      capabilities: CAPABILITIES,
      devices: [{ name: 'tun', description: 'devices of containers', path: '/dev/net/tun', settable: [] }],
    },
    mounts: [
      mount('state', 'what outlives the plugin, and its control socket', STATE, 'rbind', 'rw'),
      {
        ...mount(
          'namespaces',
          'where the engine has the namespaces of containers',
          ENGINE,
          'rbind',
          'rslave',
        ),
        // The engine tells their paths: they must be the same here. Those made later are seen by "rslave".
        settable: [],
      },
      mount('engine', "the engine's API, for the names of containers", '/var/run/docker.sock', 'bind'),
      // Those of gateways end with the plugin, and so do their names.
      {
        name: 'gateways',
        description: '',
        settable: [],
        source: 'tmpfs',
        destination: '/run/netns',
        type: 'tmpfs',
        options: [],
      },
    ],
    env: Object.entries(VARIABLES).map(([name, [description, value]]) => {
      return { name, description, value, settable: ['value'] };
    }),
  };
}
