import { CATALOG } from '../core/catalog.js';
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
    words.push(...densities(cell, candidate));
  } else {
    words.push('--variant', 'dense');
  }
  words.push('--backend', cell.backend, '--device', String(cell.device), '--dtype', cell.dtype);
  words.push('--seed', String(cell.seed), '--cache', cell.cacheMode);
  return words.join(' ');
}

/** What the kernel selects by; where layers differ in their neurons the sources of the density are named again. */
function densities(cell: Cell, candidate: Candidate): string[] {
  const selects = CATALOG.find((k) => k.id === candidate.kernel)?.selects ?? null;
  const words: string[] = [];
  const groups = activeGroups(cell.model, candidate);
  if (groups !== null && selects !== 'neurons') {
    words.push('--head-density', `${groups}/${cell.model.numKvHeads}`);
  }
  if (candidate.activeNeurons === null || selects === 'heads') return words;
  if (candidate.layerActiveNeurons === null) {
    return [...words, '--mlp-density', `${candidate.activeNeurons}/${cell.model.intermediateSize}`];
  }
  const table = /(?:^|; )topk:(.*?)(?: \(batch \d+ by the law\))?$/.exec(candidate.densitySource);
  if (table?.[1] !== undefined) return [...words, '--mlp-topk', shellWord(table[1])];
  // Scaled to the authors' tables is what a command without a flag takes; the curve itself has a word of its own.
  const scaled = candidate.densitySource.includes('scaled to ');
  return scaled ? words : [...words, '--mlp-density', 'union'];
}
