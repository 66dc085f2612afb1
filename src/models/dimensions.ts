import { configError } from '../core/json.js';
import type { ModelShape } from '../core/model-shape.js';
import { MODEL_LIMITS } from './count.js';

/** Where a file keeps each dimension, for the pointer of a message. */
export type DimensionKeys = Readonly<
  Record<'hiddenSize' | 'intermediateSize' | 'numQoHeads' | 'numKvHeads' | 'headDim', readonly string[]>
>;

type Dimensions = Pick<
  ModelShape,
  'hiddenSize' | 'intermediateSize' | 'numQoHeads' | 'numKvHeads' | 'headDim' | 'gated' | 'mlpBias'
>;

/**
 * Refuses dimensions that the kernels do not compute. Nothing is rounded or padded to make a model fit.
 * @param shape counts that are each in their own range already
 * @param keys where the file keeps them
 * @param origin file name for the message
 * @throws ConfigError naming the first key that is wrong
 */
export function checkDimensions(shape: Dimensions, keys: DimensionKeys, origin: string): void {
  const { numQoHeads, numKvHeads, headDim, hiddenSize } = shape;
  if (numKvHeads > numQoHeads || numQoHeads % numKvHeads !== 0) {
    const expected = `a divisor of the ${numQoHeads} query heads`;
    throw configError(
      origin,
      keys.numKvHeads,
      expected,
      numKvHeads,
      'Every KV head must serve equally many query heads.',
    );
  }
  if (headDim % 8 !== 0 || headDim > MODEL_LIMITS.headDim) {
    const expected = `a head dimension that is a multiple of 8 and at most ${MODEL_LIMITS.headDim}`;
    throw configError(
      origin,
      keys.headDim,
      expected,
      headDim,
      'The kernels compute no other head dimension.',
    );
  }
  if (hiddenSize % 8 !== 0) {
    throw configError(
      origin,
      keys.hiddenSize,
      'a multiple of 8',
      hiddenSize,
      'The kernels read rows in 16-byte pieces.',
    );
  }
  if (shape.gated && shape.mlpBias) {
    throw configError(
      origin,
      ['mlp_bias'],
      'false',
      true,
      'Biases in a gated MLP are not modelled by the kernels.',
    );
  }
}
