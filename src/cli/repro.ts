import { activeGroups, type Candidate, type Cell } from '../core/cell.js';

/** A word as a POSIX shell takes it literally. */
export function shellWord(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`;
}

/**
 * The command that measures one row's kernel again, beside the dense kernels of its cell.
 * @param modelName the model as the user named it: built-in name or path
 */
export function reproCommand(modelName: string, cell: Cell, candidate: Candidate): string {
  const words = ['polar-bench', 'sweep', '--model', shellWord(modelName), '--scope', cell.scope];
  words.push('--batch', String(cell.batchSize));
  if (cell.kvLen !== null) words.push('--seq', String(cell.kvLen));
  if (candidate.variant !== 'dense') {
    words.push('--variant', `dense,${candidate.variant}`);
    const groups = activeGroups(cell.model, candidate);
    if (groups !== null) words.push('--head-density', `${groups}/${cell.model.numKvHeads}`);
    if (candidate.activeNeurons !== null) {
      words.push('--mlp-density', `${candidate.activeNeurons}/${cell.model.intermediateSize}`);
    }
  } else {
    words.push('--variant', 'dense');
  }
  words.push('--backend', cell.backend, '--device', String(cell.device), '--dtype', cell.dtype);
  words.push('--seed', String(cell.seed), '--cache', cell.cacheMode);
  return words.join(' ');
}
