/** The IPAM driver: pools are subnets of the overlay's networks, addresses are those of endpoints in the store. */
import { cidr } from '../control/cidr.ts';
import { ControlError } from '../control/errors.ts';
import type { Endpoints } from './endpoints.ts';
import { type Body, flag, needed, text, texts } from './fields.ts';
import type { Networks, PoolRecord } from './networks.ts';
import { ADDRESS_SPACE } from './pools.ts';
import type { Methods } from './server.ts';

const GATEWAY = 'com.docker.network.gateway';
const TYPE = 'RequestAddressType';
/** Newer engines say whom an address is for. */
const NAME = 'com.docker.network.endpoint.name';

export function ipamMethods(networks: Networks, endpoints: Endpoints): Methods {
  return {
    'IpamDriver.GetCapabilities': async () => ({ RequiresMACAddress: false, RequiresRequestReplay: false }),
    'IpamDriver.GetDefaultAddressSpaces': async () => ({
      LocalDefaultAddressSpace: ADDRESS_SPACE,
      GlobalDefaultAddressSpace: ADDRESS_SPACE,
    }),
    'IpamDriver.RequestPool': (request) => requestPool(networks, request),
    'IpamDriver.ReleasePool': async (request) => {
      networks.releasePool(needed(request, 'PoolID'));
      return {};
    },
    'IpamDriver.RequestAddress': (request) => requestAddress(networks, endpoints, request),
    'IpamDriver.ReleaseAddress': async (request) => {
      const found = networks.ofPool(needed(request, 'PoolID'));
      const address = needed(request, 'Address');
      if (found !== null) await endpoints.release(found.record, address);
      return {};
    },
  };
}

async function requestPool(networks: Networks, request: Body): Promise<object> {
  const { id, subnet } = await networks.requestPool({
    name: texts(request, 'Options').network ?? '',
    family: flag(request, 'V6') ? 6 : 4,
    pool: text(request, 'Pool'),
    range: text(request, 'SubPool'),
  });
  return { PoolID: id, Pool: subnet.cidr, Data: { [GATEWAY]: withLength(subnet.gateway, subnet.cidr) } };
}

async function requestAddress(networks: Networks, endpoints: Endpoints, request: Body): Promise<object> {
  const poolId = needed(request, 'PoolID');
  const address = text(request, 'Address');
  const options = texts(request, 'Options');
  const found = networks.ofPool(poolId);
  if (options[TYPE] === GATEWAY) {
    const pool = found?.pool ?? pending(networks, poolId);
    return { Address: gatewayOf(pool, address, found !== null), Data: {} };
  }
  if (found === null) return { Address: auxiliary(networks, poolId, address), Data: {} };
  const { record, pool } = found;
  return {
    Address: await endpoints.addresses.request(record, pool.family, address, options[NAME] ?? ''),
    Data: {},
  };
}

/** Of a network that is there, the gateway is what it is. */
function gatewayOf({ subnet }: PoolRecord, address: string, there: boolean): string {
  if (address !== '' && address !== subnet.gateway && there) {
    throw new ControlError('CONFLICT', `the gateway of ${subnet.cidr} is ${subnet.gateway}, not ${address}`);
  }
  return withLength(address || subnet.gateway, subnet.cidr);
}

/** Before a network is there the engine asks only for what is kept for others; that is checked when it is made. */
function auxiliary(networks: Networks, poolId: string, address: string): string {
  const { subnet } = pending(networks, poolId);
  if (address !== '') return withLength(address, subnet.cidr);
  const advice = 'create it with -d packetweave';
  throw new ControlError('INVALID', `the pool ${poolId} has no network of this driver: ${advice}`);
}

function pending(networks: Networks, poolId: string): PoolRecord {
  const pool = networks.pendingPool(poolId);
  if (pool !== null) return pool;
  const advice = '"docker network rm" its network and create it again';
  throw new ControlError('NOT_FOUND', `the pool ${poolId} is not known to packetweave: ${advice}`);
}

function withLength(address: string, subnet: string): string {
  return `${address}/${cidr(subnet).length}`;
}
