import type { DeviceFacts } from '../core/environment.js';

function slug(text: string): string {
  return text
    .toLowerCase()
    .replaceAll(/[^a-z0-9.]+/g, '-')
    .replaceAll(/^[-.]+|-+$/g, '')
    .slice(0, 60);
}

/** "results/nvidia-h200/2026-01-31T09-30-00-llama-3-8b" */
export function defaultFolder(facts: DeviceFacts, name: string, startedAt: string): string {
  const time = startedAt.slice(0, 19).replaceAll(':', '-');
  return `results/${slug(facts.name) || facts.backend}/${time}-${slug(name) || 'model'}`;
}
