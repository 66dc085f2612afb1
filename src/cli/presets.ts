/** Sweep configurations that are shipped in configs/sweeps; those of the paper carry the name of a figure. */
export const PRESETS = ['smoke', 'step-smoke', 'paper', 'fig1a', 'fig6a', 'fig6b', 'fig7a', 'fig7b'] as const;
