import type { WorkerProcess } from './worker-process.ts'

/** What a client of the server notices. */
export interface ClientFindings {
  /** Position of each answered request; 0 when the answer was that it had been written before. */
  readonly positions: Map<number, number>
  /** Requests that were answered with two different positions. */
  readonly twice: number[]
  /** Longest time for which a room with open requests answered none, in ms, and the room. */
  stallMs: number
  stallRoom: number
  /** Stalls that are worth a look, with the time of day at which they ended. */
  readonly stalls: { readonly room: number; readonly ms: number; readonly endedAt: string }[]
  /** Latencies of all requests in ms, from the first attempt to the first answer. */
  readonly latencies: number[]
}

export interface ClientLimits {
  readonly rooms: number
  /** Open requests of each worker. */
  readonly window: number
  /** Requests given to a worker at a time. */
  readonly chunk: number
  /** A request that is not answered in this time is also given to another worker. */
  readonly retryMs: number
}

const notableStallMs = 1_500
const stallsMax = 10_000

/**
 * The client of all workers: gives out requests, each with its own key, and gives those that are not answered in time to
 * another worker, as a client that lost its connection does.
 */
export class CheckClient {
  readonly findings: ClientFindings = {
    positions: new Map(),
    twice: [],
    stallMs: 0,
    stallRoom: -1,
    stalls: [],
    latencies: [],
  }
  /** No new requests; what is open is still brought to an answer. */
  closed = false
  readonly #limits: ClientLimits
  readonly #open = new Map<number, { sentAt: number; triedAt: number }>()
  readonly #rooms: { open: number; progressAt: number }[]
  #next = 0

  constructor(limits: ClientLimits) {
    this.#limits = limits
    this.#rooms = Array.from({ length: limits.rooms }, () => ({ open: 0, progressAt: 0 }))
  }

  get sent(): number {
    return this.#next
  }

  get open(): number {
    return this.#open.size
  }

  /** Fills the windows of the workers that are there. */
  pump(workers: readonly WorkerProcess[]): void {
    for (const worker of workers) {
      while (
        !this.closed &&
        !worker.dead &&
        worker.outstanding.size + this.#limits.chunk <= this.#limits.window
      ) {
        const requests = Array.from({ length: this.#limits.chunk }, () => this.#next++)
        const now = performance.now()
        for (const request of requests) this.#start(request, now)
        this.#give(worker, requests, now)
      }
    }
  }

  /** Gives what is overdue, or was given to a dead worker, to another one. */
  retry(workers: readonly WorkerProcess[]): void {
    const now = performance.now()
    const overdue: number[] = []
    for (const [request, { triedAt }] of this.#open) {
      if (now - triedAt > this.#limits.retryMs) overdue.push(request)
    }
    const alive = workers.filter((worker) => !worker.dead && !worker.stopped)
    for (let at = 0; at < overdue.length && alive.length > 0; at += this.#limits.chunk) {
      const requests = overdue.slice(at, at + this.#limits.chunk)
      const worker = alive[(at / this.#limits.chunk) % alive.length]
      if (worker !== undefined) this.#give(worker, requests, now)
    }
    this.#noteStalls(now)
  }

  /** Requests of a worker that died are given to others at once. */
  lost(worker: WorkerProcess): void {
    for (const request of worker.outstanding) {
      const open = this.#open.get(request)
      if (open !== undefined) open.triedAt = 0
    }
    worker.outstanding.clear()
  }

  answered(worker: WorkerProcess, acks: readonly number[]): void {
    const now = performance.now()
    for (let at = 0; at < acks.length; at += 2) {
      const [request = -1, position = 0] = [acks[at], acks[at + 1]]
      worker.outstanding.delete(request)
      this.#note(request, position, now)
    }
  }

  #note(request: number, position: number, now: number): void {
    const known = this.findings.positions.get(request)
    if (known === undefined || (known === 0 && position > 0)) {
      this.findings.positions.set(request, position)
    } else if (position > 0 && known !== position) {
      this.findings.twice.push(request)
    }
    const open = this.#open.get(request)
    if (open === undefined) return
    this.#open.delete(request)
    this.findings.latencies.push(now - open.sentAt)
    const room = this.#room(request)
    this.#noteStall(request % this.#limits.rooms, now)
    if (now - room.progressAt > notableStallMs && this.findings.stalls.length < stallsMax) {
      const ms = Math.round(now - room.progressAt)
      const endedAt = new Date().toISOString().slice(11, 23)
      this.findings.stalls.push({ room: request % this.#limits.rooms, ms, endedAt })
    }
    room.open -= 1
    room.progressAt = now
  }

  #start(request: number, now: number): void {
    this.#open.set(request, { sentAt: now, triedAt: now })
    const room = this.#room(request)
    if (room.open === 0) room.progressAt = now
    room.open += 1
  }

  #give(worker: WorkerProcess, requests: readonly number[], now: number): void {
    for (const request of requests) {
      worker.outstanding.add(request)
      const open = this.#open.get(request)
      if (open !== undefined) open.triedAt = now
    }
    worker.send({ type: 'do', requests: [...requests] })
  }

  #noteStalls(now: number): void {
    this.#rooms.forEach((_, room) => {
      this.#noteStall(room, now)
    })
  }

  #noteStall(index: number, now: number): void {
    const room = this.#rooms[index]
    if (room === undefined || room.open === 0) return
    const ms = now - room.progressAt
    if (ms <= this.findings.stallMs) return
    this.findings.stallMs = ms
    this.findings.stallRoom = index
  }

  #room(request: number): { open: number; progressAt: number } {
    const room = this.#rooms[request % this.#limits.rooms]
    if (room === undefined) throw new Error(`no room for request ${request}`)
    return room
  }
}
