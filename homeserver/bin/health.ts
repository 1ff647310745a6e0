import type { RequestListener, ServerResponse } from 'node:http'
import type { Database } from '../database/database.ts'
import { type Migration, missingMigrations, readMigrations } from '../database/migrate.ts'

/** Whether this process can serve, and if not, why. */
export type Readiness = { readonly ready: true } | { readonly ready: false; readonly why: string }

const databaseMs = 2_000

/** Asks the database for a sign of life and for its migrations. Never rejects. */
export function createReadiness(db: Database, stopping: AbortSignal): () => Promise<Readiness> {
  const migrations: readonly Migration[] = readMigrations()
  return async () => {
    if (stopping.aborted) return { ready: false, why: 'stopping' }
    const check = missingMigrations(db, migrations).then(
      ([first]) => (first === undefined ? undefined : `migration ${first} is missing`),
      () => 'the database does not answer',
    )
    const why = await Promise.race([check, after(databaseMs, 'the database does not answer')])
    return why === undefined ? { ready: true } : { ready: false, why }
  }
}

function after(ms: number, value: string): Promise<string> {
  return new Promise((resolve) => setTimeout(() => resolve(value), ms).unref())
}

/** Answers /health (the process lives) and /ready (it can serve), and passes on everything else. */
export function withHealth(
  readiness: () => Promise<Readiness>,
  next: RequestListener,
): RequestListener {
  return (request, response) => {
    const path = request.url
    if (path === '/health') sendText(response, 200, 'OK')
    else if (path === '/ready') {
      void readiness().then((state) => sendText(response, state.ready ? 200 : 503, textOf(state)))
    } else next(request, response)
  }
}

function textOf(state: Readiness): string {
  return state.ready ? 'OK' : state.why
}

/** Answers /metrics with what `collect` gives, and 404 to everything else. */
export function metricsHandler(collect: () => Promise<string>): RequestListener {
  return (request, response) => {
    if (request.url !== '/metrics') sendText(response, 404, 'not found')
    else {
      void collect().then(
        (text) => sendText(response, 200, text),
        () => sendText(response, 500, 'the metrics could not be collected'),
      )
    }
  }
}

function sendText(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' })
  response.end(text)
}
