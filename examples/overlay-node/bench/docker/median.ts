export function median(all: readonly number[]): number {
  return [...all].sort((a, b) => a - b)[all.length >> 1];
}
