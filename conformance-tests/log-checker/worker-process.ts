import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { type Order, Report, type WorkerSettings } from './protocol.ts'

/** A running worker, as the checker sees it. */
export interface WorkerProcess {
  readonly child: ChildProcess
  readonly ready: Promise<void>
  readonly exited: Promise<void>
  /** Requests that it was given and has not answered. */
  readonly outstanding: Set<number>
  stopped: boolean
  dead: boolean
  send(order: Order): void
}

export function startWorker(
  settings: WorkerSettings,
  onReport: (worker: WorkerProcess, report: Report) => void,
): WorkerProcess {
  const path = fileURLToPath(new URL('./run-worker.mjs', import.meta.url))
  const child = fork(path, [JSON.stringify(settings)], { execArgv: [] })
  let becomeReady = () => {}
  const ready = new Promise<void>((resolve) => {
    becomeReady = resolve
  })
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  const worker: WorkerProcess = {
    child,
    ready,
    exited,
    outstanding: new Set(),
    stopped: false,
    dead: false,
    send(order) {
      if (child.connected) child.send(order, () => {})
    },
  }
  child.on('message', (message) => {
    const report = Report.parse(message)
    if (report.type === 'ready') becomeReady()
    onReport(worker, report)
  })
  child.on('exit', () => {
    worker.dead = true
  })
  return worker
}
