import type { BackendName, Cell, Dtype } from '../../core/cell.js';
import type { Ceilings, DeviceFacts } from '../../core/environment.js';
import { BackendUnavailableError, NativeError, PolarBenchError } from '../../core/errors.js';
import type { Outcome } from '../../core/outcome.js';
import type { Backend, MeasureRequest, Progress, VerifyRequest } from '../backend.js';
import type { NativeCellRequest, NativeCellResult, NativeFacts } from '../native/addon.js';
import { dtypeToNative, idleOptions, measureRequest, verifyRequest } from '../native/request.js';
import { ceilings, cellOutcome, deviceFacts } from '../native/result.js';
import { type ChildOptions, MeasuringProcess } from './child-process.js';

/** Every candidate of the cell failed for one reason: what a crash, a hang or a lost device costs. */
function failedOutcome(cell: Cell, error: PolarBenchError): Outcome {
  return {
    candidates: cell.candidates.map(() => ({
      status: 'failed',
      code: error.code,
      reason: error.message,
      warnings: [],
    })),
    stop: 'not-timed',
    warnings: [],
  };
}

/** A backend whose kernels run in a child process of their own. */
export class ChildBackend implements Backend {
  private readonly process: MeasuringProcess;

  constructor(
    readonly name: BackendName,
    readonly device: number,
    options: ChildOptions = {},
  ) {
    this.process = new MeasuringProcess(options);
  }

  /** Version of the messages that this build's measuring process speaks; undefined where it is older than versions. */
  async protocolVersion(): Promise<number | undefined> {
    const version: unknown = await this.process.call({ type: 'protocol' });
    return typeof version === 'number' ? version : undefined;
  }

  async describe(): Promise<DeviceFacts> {
    const facts = await this.process.call({ type: 'describe', backend: this.name, device: this.device });
    return deviceFacts(this.name, this.device, facts as NativeFacts);
  }

  async listKernels(): Promise<readonly string[]> {
    return (await this.process.call({ type: 'kernels', backend: this.name })) as readonly string[];
  }

  async measureCeilings(dtype: Dtype, threads: number): Promise<Ceilings> {
    const request = {
      backend: this.name,
      dtype: dtypeToNative(dtype),
      options: { ...idleOptions(this.device, threads), coldCache: 1 },
    };
    try {
      return ceilings((await this.process.call({ type: 'ceilings', request })) as NativeFacts);
    } catch (error) {
      await this.replaceIfLost(error);
      throw error;
    }
  }

  measure(request: MeasureRequest, onProgress?: (progress: Progress) => void): Promise<Outcome> {
    return this.cell(request.cell, measureRequest(request), onProgress);
  }

  verify(request: VerifyRequest, onProgress?: (progress: Progress) => void): Promise<Outcome> {
    return this.cell(request.cell, verifyRequest(request), onProgress);
  }

  close(): Promise<void> {
    return this.process.close();
  }

  private async cell(
    cell: Cell,
    request: NativeCellRequest,
    onProgress?: (progress: Progress) => void,
  ): Promise<Outcome> {
    try {
      const result = (await this.process.call({ type: 'cell', request }, onProgress)) as NativeCellResult;
      return cellOutcome(result);
    } catch (error) {
      // Only what concerns this cell becomes a row. A backend that is gone for good ends the sweep.
      if (!(error instanceof NativeError) || error instanceof BackendUnavailableError) throw error;
      await this.replaceIfLost(error);
      return failedOutcome(cell, error);
    }
  }

  /** After an error of the device the context may be lost: the next call gets a fresh process. */
  private async replaceIfLost(error: unknown): Promise<void> {
    if (error instanceof NativeError && (error.code === 'E_CUDA' || error.code === 'E_CUBLAS')) {
      await this.process.close();
    }
  }
}
