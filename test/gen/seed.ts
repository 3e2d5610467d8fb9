/** The seed of this run: from SEED in the environment, or new. Print it, so that a failure can be repeated. */
export const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
