import type { Connection } from './connection.ts'
import type { Db } from './database.ts'
import { DatabaseError } from './database-error.ts'

interface Limits {
  readonly statementMs: number
  readonly transactionMs: number
}

/** Makes a `Db` of a function that runs one statement. */
export function createDb(
  run: <T extends object>(text: string, values: readonly unknown[]) => Promise<T[]>,
): Db {
  function template<T extends object>(
    strings: TemplateStringsArray,
    ...values: readonly unknown[]
  ): Promise<T[]> {
    return run<T>(textOf(strings), values)
  }
  return Object.assign(template, {
    query: <T extends object>(text: string, values: readonly unknown[]) => run<T>(text, values),
  })
}

const texts = new WeakMap<TemplateStringsArray, string>()

function textOf(strings: TemplateStringsArray): string {
  const found = texts.get(strings)
  if (found !== undefined) return found
  const text = strings.reduce((left, right, index) => `${left}$${index}${right}`)
  texts.set(strings, text)
  return text
}

/**
 * Runs `work` between begin and commit on a connection that is lent to nobody else. Once a statement has failed, the
 * connection died, the deadline passed or the work ended, every further statement is refused.
 */
export async function runTransaction<T>(
  connection: Connection,
  work: (tx: Db) => Promise<T>,
  limits: Limits,
): Promise<T> {
  const unit = new Unit(connection, limits)
  const deadline = unit.deadline()
  try {
    const result = await Promise.race([work(unit.db), deadline.passed])
    await unit.commit()
    return result
  } catch (error) {
    await unit.rollback()
    throw error
  } finally {
    clearTimeout(deadline.timer)
  }
}

/** One transaction after its begin. */
class Unit {
  readonly db: Db
  readonly #connection: Connection
  readonly #limits: Limits
  /** Why no further statement is run. */
  #over: DatabaseError | undefined
  #firstFailure: unknown
  /** Statements that the work starts at once run one after the other, in that order. */
  #queue: Promise<unknown> = Promise.resolve()

  constructor(connection: Connection, limits: Limits) {
    this.#connection = connection
    this.#limits = limits
    this.db = createDb(<R extends object>(text: string, values: readonly unknown[]) => {
      const next = this.#queue.then(() => this.#run<R>(text, values))
      this.#queue = next.then(noop, noop)
      return next
    })
  }

  async #run<R extends object>(text: string, values: readonly unknown[]): Promise<R[]> {
    if (this.#over !== undefined) throw this.#over
    try {
      return await this.#connection.run<R>(text, values, this.#limits.statementMs)
    } catch (error) {
      const failure = beforeCommit(error)
      this.#firstFailure ??= failure
      this.#end('the transaction has failed', error)
      throw failure
    }
  }

  #end(message: string, cause?: unknown): void {
    this.#over ??= new DatabaseError('transaction_over', message, { cause })
  }

  /** Rejects when the whole transaction took too long, and drops its connection. */
  deadline(): { timer: NodeJS.Timeout; passed: Promise<never> } {
    const { promise, reject } = withResolvers()
    const timer = setTimeout(() => {
      const message = `the transaction took over ${this.#limits.transactionMs} ms`
      const error = new DatabaseError('deadline', message)
      this.#end(message, error)
      this.#connection.destroy(error)
      reject(error)
    }, this.#limits.transactionMs)
    return { timer, passed: promise }
  }

  /** Rejects with the first failure, also with one that the work caught. */
  async commit(): Promise<void> {
    await this.#queue
    if (this.#over !== undefined) throw this.#firstFailure ?? this.#over
    this.#end('the transaction has ended')
    await this.#connection.run('commit', [], this.#limits.statementMs)
  }

  /** Never rejects: a connection that cannot roll back is dropped, which rolls back too. */
  async rollback(): Promise<void> {
    this.#end('the transaction was rolled back')
    await this.#queue
    if (!this.#connection.alive) return
    try {
      await this.#connection.run('rollback', [], this.#limits.statementMs)
    } catch (error) {
      this.#connection.destroy(beforeCommit(error))
    }
  }
}

/** Whatever happens before the commit is sent, nothing has been done. */
function beforeCommit(error: unknown): DatabaseError {
  if (!(error instanceof DatabaseError)) {
    return new DatabaseError('refused', String(error), { cause: error })
  }
  if (error.outcome === 'none') return error
  return new DatabaseError(error.kind, error.message, { outcome: 'none', cause: error })
}

function withResolvers(): { promise: Promise<never>; reject: (error: Error) => void } {
  let reject: (error: Error) => void = noop
  const promise = new Promise<never>((_resolve, fail) => {
    reject = fail
  })
  promise.catch(noop)
  return { promise, reject }
}

function noop(): void {}
