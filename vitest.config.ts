import { configDefaults, defineConfig } from 'vitest/config';

/** What measures whether the instrument is right must not share the cores with other tests: it runs after them. */
const INSTRUMENT = 'test/e2e/instrument.test.ts';

export default defineConfig({
  test: {
    // A crash of the addon is then one reported error instead of a dead run.
    pool: 'forks',
    testTimeout: 30_000,
    hookTimeout: 120_000,
    projects: [
      {
        extends: true,
        test: {
          name: 'tests',
          include: ['test/**/*.test.ts'],
          exclude: [...configDefaults.exclude, INSTRUMENT],
          sequence: { groupOrder: 0 },
        },
      },
      { extends: true, test: { name: 'instrument', include: [INSTRUMENT], sequence: { groupOrder: 1 } } },
    ],
  },
});
