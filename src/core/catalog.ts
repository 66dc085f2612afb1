import { isLayerScope, type BackendName, type Scope, type Variant } from './cell.js';
import type { ModelShape } from './model-shape.js';

/** A kernel that a backend library exports. The native registries list the same ids; a test compares them. */
export interface Kernel {
  readonly id: string;
  readonly scope: Scope;
  readonly variant: Variant;
  /** What its density selects; null: it always computes everything. */
  readonly selects: 'heads' | 'neurons' | 'both' | null;
  readonly backends: readonly BackendName[];
  /** One sentence for `--help`, docs and the table's legend. */
  readonly summary: string;
  /** Shapes for which the kernel says something of its own. */
  readonly appliesTo?: (shape: ModelShape) => boolean;
}

const BOTH: readonly BackendName[] = ['cpu', 'cuda'];
const isGrouped = (shape: ModelShape): boolean => shape.numQoHeads > shape.numKvHeads;

function mlpKernels(scope: 'mlp' | 'mlp-up' | 'mlp-down', what: string): Kernel[] {
  return [
    {
      id: `${scope}/dense`,
      scope,
      variant: 'dense',
      selects: null,
      backends: BOTH,
      summary: `${what} over all neurons, our own kernel`,
    },
    {
      id: `${scope}/cublaslt`,
      scope,
      variant: 'dense',
      selects: null,
      backends: ['cuda'],
      summary: `${what} over all neurons, the fastest of the cuBLASLt candidates`,
    },
    {
      id: `${scope}/selective`,
      scope,
      variant: 'mlp-sparse',
      selects: 'neurons',
      backends: BOTH,
      summary: `${what} over the active neurons, gathered inside the kernel (Polar Sparsity Alg. 3)`,
    },
    {
      id: `${scope}/gather-dense`,
      scope,
      variant: 'mlp-sparse',
      selects: 'neurons',
      backends: BOTH,
      summary: `copy the active neurons' weights, then ${what} dense: the naive sparse baseline`,
    },
  ];
}

function layerKernels(scope: 'layer' | 'step', what: string): Kernel[] {
  const kernel = (variant: Variant, selects: Kernel['selects'], how: string): Kernel => ({
    id: `${scope}/${variant}`,
    scope,
    variant,
    selects,
    backends: BOTH,
    summary: `${what}, ${how}`,
  });
  return [
    kernel('dense', null, 'attention and MLP dense'),
    kernel(
      'mlp-sparse',
      'neurons',
      'attention dense, MLP over the neurons that its router chooses (Deja Vu)',
    ),
    kernel(
      'head-sparse',
      'heads',
      'attention over the heads or KV groups that its router chooses, MLP dense',
    ),
    kernel('polar', 'both', 'attention and MLP both over what their routers choose (Polar Sparsity)'),
  ];
}

const ROUTER_KERNELS: readonly Kernel[] = [
  {
    id: 'router/attention-topk',
    scope: 'router',
    variant: 'head-sparse',
    selects: 'heads',
    backends: BOTH,
    summary: 'scores of the heads or KV groups of each sequence, and the largest of them',
  },
  {
    id: 'router/mlp-topk',
    scope: 'router',
    variant: 'mlp-sparse',
    selects: 'neurons',
    backends: BOTH,
    summary: 'scores of the neurons summed over the batch, and the largest of them',
  },
];

export const CATALOG: readonly Kernel[] = [
  {
    id: 'attention/dense',
    scope: 'attention',
    variant: 'dense',
    selects: null,
    backends: BOTH,
    summary: "decode attention over all heads, a KV group's cache read once",
  },
  {
    id: 'attention/dense-per-query-head',
    scope: 'attention',
    variant: 'dense',
    selects: null,
    backends: BOTH,
    summary:
      "decode attention that streams a group's cache once per query head: the shape of the paper's baseline",
    appliesTo: isGrouped,
  },
  {
    id: 'attention/selective-head',
    scope: 'attention',
    variant: 'head-sparse',
    selects: 'heads',
    backends: BOTH,
    summary: 'decode attention over the active heads or KV groups of each sequence (Polar Sparsity Alg. 1)',
  },
  {
    id: 'attention/gather-dense',
    scope: 'attention',
    variant: 'head-sparse',
    selects: 'heads',
    backends: BOTH,
    summary: 'copy the active heads, then dense attention: the naive sparse baseline',
  },
  ...mlpKernels('mlp', 'up (and gate), activation and down'),
  ...mlpKernels('mlp-up', 'up (and gate) with the activation'),
  ...mlpKernels('mlp-down', 'down projection'),
  ...ROUTER_KERNELS,
  ...layerKernels('layer', 'one transformer layer of a decode step'),
  ...layerKernels('step', 'a whole decode step with final norm, language-model head and greedy token'),
];

/** Whether a kernel chooses its heads or neurons itself, on the device, from the scores of a router. */
export function routesItself(scope: Scope): boolean {
  return scope === 'router' || isLayerScope(scope);
}

/** The kernels that a sweep of this scope measures, in the order of the catalog. */
export function kernelsFor(
  scope: Scope,
  backend: BackendName,
  variants: readonly Variant[],
  shape: ModelShape,
): Kernel[] {
  return CATALOG.filter(
    (k) =>
      k.scope === scope &&
      k.backends.includes(backend) &&
      variants.includes(k.variant) &&
      (k.appliesTo?.(shape) ?? true),
  );
}
