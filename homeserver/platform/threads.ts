/**
 * Worker threads for work that would keep the main thread for long: started when they are needed, ended when their
 * user is done, so that a server that has no such work pays nothing.
 */
import { availableParallelism } from 'node:os'
import { parentPort, Worker } from 'node:worker_threads'

/** Threads that answer inputs of one kind, each one after the other. */
export interface Threads<I, O> extends AsyncDisposable {
  /** Answered by the next free thread. @throws Error when the work failed or its thread died */
  run(input: I): Promise<O>
}

/** Threads that one piece of work may start. */
const threadsMax = 4
/** A thread that needs more dies; its work is refused. */
const heapMaxMb = 768
/** What a thread makes is soon let go, and so is the thread: rare collections are cheaper. */
const youngMaxMb = 48

interface Job<I, O> {
  readonly input: I
  readonly resolve: (output: O) => void
  readonly reject: (error: Error) => void
}

interface Answer<O> {
  readonly output?: O
  readonly error?: string
}

/** Threads that run `file`, which calls `serveThread`; as many as there are processors to spare, or `count`. */
export function createThreads<I, O>(file: URL, count = spareProcessors()): Threads<I, O> {
  const idle: Thread<I, O>[] = []
  const all = new Set<Thread<I, O>>()
  const waiting: Job<I, O>[] = []

  function next(): void {
    const job = waiting[0]
    if (job === undefined) return
    const thread = idle.pop() ?? (all.size < count ? start() : undefined)
    if (thread === undefined) return
    waiting.shift()
    thread.take(job)
  }

  function start(): Thread<I, O> {
    const thread: Thread<I, O> = new Thread(file, {
      free() {
        idle.push(thread)
        next()
      },
      ended() {
        all.delete(thread)
        next()
      },
    })
    all.add(thread)
    return thread
  }

  return {
    run: (input) =>
      new Promise((resolve, reject) => {
        waiting.push({ input, resolve, reject })
        next()
      }),
    async [Symbol.asyncDispose]() {
      for (const { reject } of waiting.splice(0)) reject(new Error('the threads were stopped'))
      await Promise.all([...all].map((thread) => thread.end()))
    },
  }
}

class Thread<I, O> {
  readonly #worker: Worker
  #job: Job<I, O> | undefined

  constructor(file: URL, on: { free(): void; ended(): void }) {
    this.#worker = new Worker(isCompiled ? compiledOf(file) : sourceStart(file), {
      eval: !isCompiled,
      execArgv: [],
      resourceLimits: {
        maxOldGenerationSizeMb: heapMaxMb,
        maxYoungGenerationSizeMb: youngMaxMb,
      },
    })
    this.#worker.on('message', (answer: Answer<O>) => {
      const job = this.#job
      this.#job = undefined
      if (answer.output === undefined) job?.reject(new Error(answer.error ?? 'no answer'))
      else job?.resolve(answer.output)
      on.free()
    })
    this.#worker.on('error', (error) => this.#fail(error))
    this.#worker.on('exit', () => {
      this.#fail(new Error('the thread ended'))
      on.ended()
    })
  }

  take(job: Job<I, O>): void {
    this.#job = job
    this.#worker.postMessage(job.input)
  }

  async end(): Promise<void> {
    await this.#worker.terminate()
  }

  #fail(error: Error): void {
    this.#job?.reject(error)
    this.#job = undefined
  }
}

/** Answers what the main thread asks; called once by a thread's file. */
export function serveThread<I, O>(answer: (input: I) => O): void {
  parentPort?.on('message', (input: I) => {
    try {
      parentPort?.postMessage({ output: answer(input) })
    } catch (error) {
      parentPort?.postMessage({ error: error instanceof Error ? error.message : String(error) })
    }
  })
}

function spareProcessors(): number {
  return Math.max(1, Math.min(threadsMax, availableParallelism() - 1))
}

const isCompiled = import.meta.url.endsWith('.js')

/** Names of files in the source are those of TypeScript. */
function compiledOf(file: URL): URL {
  return new URL(file.href.replace(/\.ts$/, '.js'))
}

/** A program that runs a file of TypeScript as it is, in development and in tests. */
function sourceStart(file: URL): string {
  return `import('tsx/esm/api').then(({ register }) => (register(), import('${file.href}')))`
}
