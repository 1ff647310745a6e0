/** Time as a parameter: the only place that reads the wall clock. Milliseconds everywhere. */
export interface Clock {
  /** Milliseconds since the epoch. */
  now(): number
  /** Resolves after `ms`, or rejects with the signal's reason. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>
  /** Calls `tick` every `ms` until disposed; a tick that throws is the caller's defect. */
  every(ms: number, tick: () => void): Disposable
}
