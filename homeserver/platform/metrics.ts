import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'

/** Numbers of one process for /metrics; names as operators of homeservers know them where there is one. */
export interface Metrics {
  readonly registry: Registry
  counter(name: string, help: string, labels?: readonly string[]): Counter
  gauge(name: string, help: string, labels?: readonly string[]): Gauge
  /** A gauge that is read only when somebody asks for the metrics. */
  measure(name: string, help: string, read: () => number): void
  /** A distribution; durations in seconds. */
  histogram(name: string, help: string, labels?: readonly string[]): Histogram
}

/** From half a millisecond to half a minute. */
const secondsBuckets = [0.0005, 0.002, 0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]

/** How often the lag of the event loop is measured: each time wakes the process. */
const eventLoopPrecisionMs = 100

/** Makes the registry of this process with memory, CPU and event-loop lag in it. */
export function createMetrics(): Metrics {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: eventLoopPrecisionMs })
  const registers = [registry]
  return {
    registry,
    counter: (name, help, labels = []) =>
      new Counter({ name, help, labelNames: [...labels], registers }),
    gauge: (name, help, labels = []) =>
      new Gauge({ name, help, labelNames: [...labels], registers }),
    measure(name, help, read) {
      new Gauge({
        name,
        help,
        registers,
        // Of several processes the one that says most: a sum of positions would mean nothing.
        aggregator: 'max',
        collect() {
          this.set(read())
        },
      })
    },
    histogram: (name, help, labels = []) =>
      new Histogram({
        name,
        help,
        labelNames: [...labels],
        buckets: secondsBuckets,
        registers,
      }),
  }
}
