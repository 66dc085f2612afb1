// Who may import whom: docs/architecture.md. core <- theory <- plan; core <- stats <- claims; core, theory <- report <-
// sinks; core <- backends, models, traces; then pipeline <- cli <- main.
const allowed = {
  core: [],
  theory: ['core'],
  plan: ['core', 'theory'],
  models: ['core'],
  traces: ['core', 'theory'],
  stats: ['core'],
  gate: ['core', 'stats'],
  claims: ['core', 'stats'],
  report: ['core', 'theory'],
  sinks: ['core', 'theory', 'report'],
  backends: ['core'],
};

const layers = Object.entries(allowed).map(([stage, others]) => ({
  name: `${stage}-imports`,
  comment: `src/${stage} may import ${['itself', ...others].join(', ')} only`,
  severity: 'error',
  from: { path: `^src/${stage}/` },
  to: { path: '^src/', pathNot: [stage, ...others].map((name) => `^src/${name}/`) },
}));

module.exports = {
  forbidden: [
    ...layers,
    {
      name: 'core-imports-nothing',
      severity: 'error',
      from: { path: '^src/core/' },
      to: { pathNot: '^src/core/' },
    },
    {
      name: 'pure-stages',
      comment:
        'theory, plan, stats, gate, report and claims use no Node module: time, seed and text come in as arguments',
      severity: 'error',
      from: { path: '^src/(core|theory|plan|stats|gate|report|claims)/' },
      to: { dependencyTypes: ['core'] },
    },
    {
      name: 'pipeline-knows-interfaces',
      comment: 'the pipeline knows the Backend interface, no backend and no sink',
      severity: 'error',
      from: { path: '^src/pipeline\\.ts$' },
      to: { path: '^src/(cli|sinks|models|backends/(?!backend\\.ts))' },
    },
    {
      name: 'nobody-imports-cli',
      severity: 'error',
      from: { pathNot: '^src/(cli/|main\\.ts)' },
      to: { path: '^src/cli/' },
    },
    {
      name: 'shipped-dependencies',
      comment: 'what the package imports must be installed with it',
      severity: 'error',
      from: { path: '^src/' },
      to: { dependencyTypes: ['npm-dev', 'npm-no-pkg', 'npm-unknown'], pathNot: 'node_modules/@types/' },
    },
    { name: 'no-cycles', severity: 'error', from: {}, to: { circular: true } },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    // The TypeScript compiler of this version has no JavaScript interface; swc parses instead.
    parser: 'swc',
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: { extensions: ['.ts', '.js'] },
  },
};
