import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // A crash of the addon is then one reported error instead of a dead run.
    pool: 'forks',
    testTimeout: 30_000,
    hookTimeout: 120_000,
  },
});
