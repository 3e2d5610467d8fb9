/** Whether this process has the UDP sockets of the tunnels. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import type { Check } from '../api/api.ts';
import { check } from './host-checks.ts';

/** `ports` are numbers of UDP ports, of this network namespace. */
export function socketChecks(ports: readonly number[]): Check[] {
  const own = ownSockets();
  const all = udpSockets();
  return ports.map((port) => {
    const inodes = all.filter((socket) => socket.port === port).map(({ inode }) => inode);
    const ok = inodes.some((inode) => own.has(inode));
    const other = inodes.length > 0 ? 'another process has it' : 'nobody listens';
    const advice = `see what the daemon logged, and whether "ss -lunp" shows another program there`;
    return check(`${port}/udp`, ok, ok ? 'bound' : other, advice);
  });
}

/** As in proc(5), /proc/net/udp: the second field is the local address, the tenth the inode. */
function udpSockets(): { readonly port: number; readonly inode: string }[] {
  return ['udp', 'udp6'].flatMap((file) => {
    const [, ...lines] = readOr(`/proc/self/net/${file}`).trim().split('\n');
    return lines.map((line) => {
      const fields = line.trim().split(/\s+/);
      return { port: Number.parseInt(fields[1].split(':')[1], 16), inode: fields[9] };
    });
  });
}

/** IPv6 may be off. */
function readOr(file: string): string {
  try {
    return readFileSync(file, 'latin1');
  } catch {
    return '';
  }
}

function ownSockets(): Set<string> {
  const inodes = readdirSync('/proc/self/fd').map((fd) => {
    try {
      return /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/self/fd/${fd}`))?.[1] ?? '';
    } catch {
      return ''; // closed meanwhile
    }
  });
  return new Set(inodes);
}
