/** Ceilings of a device, measured by polar-bench itself on this machine. */
export interface Ceilings {
  /** 10^9 bytes per second, the best of all read patterns */
  readonly readGbPerS: number;
  /** 10^12 floating-point operations per second in the storage type of the sweep */
  readonly matrixTflopPerS: number;
  /** Every pattern that was tried, by name; for env.json */
  readonly details: Readonly<Record<string, number | string>>;
}

/** What a backend says about one device: names from docs/native.md, for env.json, `devices` and `doctor`. */
export interface DeviceFacts {
  readonly backend: 'cpu' | 'cuda';
  readonly device: number;
  /** Marketing name, "NVIDIA H200"; untrusted text */
  readonly name: string;
  readonly driverVersion: string | null;
  readonly lastLevelCacheBytes: number;
  readonly totalMemoryBytes: number;
  readonly freeMemoryBytes: number;
  readonly details: Readonly<Record<string, number | string>>;
}
