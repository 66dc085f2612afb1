import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

import type { TraceNative } from '../../core/trace-native.js';

/** Typed mirror of the exports of src/native/addon.cpp. The numbers of enums are those of src/native/abi.h. */
export interface Addon extends TraceNative {
  abiVersion(): number;
  listKernels(backend: string): string[];
  describe(backend: string, device: number): Promise<NativeFacts>;
  measureCeilings(request: NativeCeilingRequest): Promise<NativeFacts>;
  measureCell(request: NativeCellRequest): Promise<NativeCellResult>;
  progress(): { beats: number; phase: string; fraction: number };
  abort(): void;
}

export type NativeFacts = Record<string, string | number | null>;

export interface NativeProblem {
  scope: number;
  dtype: number;
  batchSize: number;
  kvLen: number;
  kvCapacity: number;
  numQoHeads: number;
  numKvHeads: number;
  headDim: number;
  hiddenSize: number;
  intermediateSize: number;
  activation: number;
  gated: number;
  mlpBias: number;
  norm: number;
  qkvBias: number;
  outBias: number;
  rope: number;
  ropeTheta: number;
  normEpsilon: number;
  numLayers: number;
  vocabSize: number;
  mlpRouterRank: number;
  seed: number;
}

export interface NativeOptions {
  mode: number;
  device: number;
  threads: number;
  coldCache: number;
  minSamples: number;
  maxSamples: number;
  warmup: number;
  repeats: number;
  maxNoise: number;
  maxTimeS: number;
  minSampleUs: number;
  verifyRows: number;
  breakdown: number;
}

export interface NativeCandidate {
  kernel: string;
  activeGroups: number;
  activeNeurons: number;
  indexPattern: number;
  dense: number;
  indices: Int32Array | null;
  /** Layer and step: active neurons per layer, one entry each; null = activeNeurons in every layer. */
  layerActiveNeurons: Int32Array | null;
}

export interface NativeCellRequest {
  backend: string;
  problem: NativeProblem;
  options: NativeOptions;
  candidates: NativeCandidate[];
}

export interface NativeCeilingRequest {
  backend: string;
  dtype: number;
  options: NativeOptions;
}

export interface NativeVerification {
  passed: boolean;
  maxAbsErr: number;
  maxRelErr: number;
  toleranceUsed: number;
  rowsChecked: number;
  rowsFailed: number;
  worstRow: number | null;
  repeatsEqual: boolean;
}

export interface NativeCandidateResult {
  status: number;
  code: string;
  reason: string;
  verification: NativeVerification | null;
  timing: {
    runsPerSample: number;
    rotationCopies: number;
    rotationBytes: number;
    samplesDiscarded: number;
    energyMj: number | null;
    setupS: number;
    residentLayers: number;
  } | null;
  rounds: Int32Array;
  samplesNs: Float64Array;
  clockMhz: Float64Array;
  parts: { name: string; ns: number }[];
  warnings: string[];
}

export interface NativeCellResult {
  candidates: NativeCandidateResult[];
  stop: number;
  warnings: string[];
  facts: NativeFacts;
}

/** The ABI version this TypeScript was written for; POLAR_ABI_VERSION of src/native/abi.h. */
export const ABI_VERSION = 2;

/** Where the addon is. POLAR_BENCH_ADDON names another build of it (tests use one with planted faults). */
export function addonPath(): string {
  return (
    process.env['POLAR_BENCH_ADDON'] ??
    fileURLToPath(new URL('../../../build/Release/polar_bench.node', import.meta.url))
  );
}

/** Loads the addon: the only `require` of native code. Called in the measuring child process, never in the CLI's own. */
export function loadAddon(): Addon {
  const path = addonPath();
  if (!existsSync(path)) {
    throw new Error(
      'The native addon is not built: run `npm rebuild`, which needs CMake and a C++20 compiler',
    );
  }
  const addon = createRequire(import.meta.url)(path) as Addon;
  const version = addon.abiVersion();
  if (version !== ABI_VERSION) {
    throw new Error(`Expected ABI version ${ABI_VERSION} for the addon, got ${version}: run npm rebuild`);
  }
  return addon;
}
