/**
 * Seeded random numbers: chance is an argument, as time is. The generator is sfc32 (Chris Doty-Humphrey's
 * Small Fast Chaotic, 128 bits of state). It is for hashing seeds, jitter and faults, never for keys.
 */
export class Random {
  #a: number;
  #b: number;
  #c: number;
  #d = 1;

  /** Equal seeds give equal sequences. A seed is any integer; 53 bits count. */
  constructor(seed: number) {
    this.#a = 0x9e3779b9 | 0;
    this.#b = seed | 0;
    this.#c = Math.floor(seed / 0x1_0000_0000) | 0;
    for (let i = 0; i < 12; i++) this.int32();
  }

  /** 32 random bits as a signed integer. */
  int32(): number {
    const t = (((this.#a + this.#b) | 0) + this.#d) | 0;
    this.#d = (this.#d + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + t) | 0;
    return t;
  }

  /** A number from 0 up to but not including 1. */
  float(): number {
    return (this.int32() >>> 0) / 0x1_0000_0000;
  }

  /** An integer from 0 up to but not including `n`. */
  below(n: number): number {
    return Math.floor(this.float() * n);
  }

  /** True with probability `p`. */
  chance(p: number): boolean {
    return p > 0 && this.float() < p;
  }
}
