/** A network between servers in one process that delays, loses, repeats, reorders and cuts, as a seed says. */
import type { Backoff } from '../../homeserver/destinations/backoff.ts'
import type { Clock } from '../../homeserver/platform/clock.ts'
import { lenientCanonicalJson } from '../../spec/canonical-json.ts'
import { MatrixError } from '../../spec/errors.ts'
import type { ServerName } from '../../spec/ids.ts'
import { isObject, parseJson, stringAt } from '../../spec/json.ts'
import type { FederationClient, RemoteRequest } from '../request.ts'
import { type Chance, chanceOf } from './test-chance.ts'
import type { Schedule } from './test-schedule.ts'

/** A request as it goes over the wire. */
export interface Wire {
  readonly method: string
  readonly path: string
  readonly body: string | undefined
}

export interface Reply {
  readonly status: number
  readonly text: string
}

/** What answers requests of other servers; never rejects. */
export type Serve = (origin: ServerName, request: Wire) => Promise<Reply>

export interface Network {
  readonly weather: Weather
  /** Transactions on their way so far, with the number of PDUs of each. */
  readonly transactions: { from: ServerName; to: ServerName; pdus: number }[]
  connect(server: ServerName, serve: Serve): void
  /** Nobody reaches the server any more. */
  disconnect(server: ServerName): void
  client(from: ServerName, needs: { backoff: Backoff; clock: Clock }): FederationClient
  /** What one server sends does not reach the other. */
  cut(from: ServerName, to: ServerName): void
  heal(): void
}

/** How bad the network is; probabilities, for each request. */
export interface Weather {
  delayMaxMs: number
  loseRequest: number
  loseReply: number
  repeat: number
}

/** A connection without an answer ends after this. */
const timeoutMs = 10_000
const refusedMs = 5
/** A request that is repeated arrives once more within this. */
const repeatMaxMs = 60_000
const depthMax = 200

export function createNetwork(schedule: Schedule, seed: number): Network {
  const servers = new Map<ServerName, Serve>()
  const cuts = new Set<string>()
  const chances = new Map<string, Chance>()
  const weather: Weather = { delayMaxMs: 0, loseRequest: 0, loseReply: 0, repeat: 0 }
  const transactions: Network['transactions'] = []

  function linkOf(from: ServerName, to: ServerName) {
    const name = `${from} ${to}`
    const chance = chances.get(name) ?? chanceOf(seed, name)
    chances.set(name, chance)
    return { chance, isCut: () => cuts.has(name) || !servers.has(to) }
  }

  /** The answer, or undefined when none comes. */
  function exchange(from: ServerName, to: ServerName, wire: Wire): Promise<Reply | undefined> {
    const { chance, isCut } = linkOf(from, to)
    const back = linkOf(to, from)
    // Most are quick, a few very late: later ones overtake them.
    const delayMs = () => 1 + chance.next() ** 6 * weather.delayMaxMs
    return new Promise((resolve) => {
      const givesUp = schedule.at(schedule.now + timeoutMs, () => resolve(undefined))
      const answer = (reply: Reply | undefined) => {
        givesUp[Symbol.dispose]()
        resolve(reply)
      }
      const deliver = (isRepeated: boolean) => {
        if (isCut()) return
        void servers
          .get(to)?.(from, wire)
          .then((reply) => {
            if (isRepeated || chance.hits(weather.loseReply)) return
            schedule.at(schedule.now + delayMs(), () => back.isCut() || answer(reply))
          })
      }
      if (isCut()) {
        // Refused at once, or never answered.
        if (chance.hits(0.5)) schedule.at(schedule.now + refusedMs, () => answer(undefined))
        return
      }
      if (!chance.hits(weather.loseRequest)) {
        schedule.at(schedule.now + delayMs(), () => deliver(false))
      }
      if (chance.hits(weather.repeat)) {
        schedule.at(schedule.now + chance.next() * repeatMaxMs, () => deliver(true))
      }
    })
  }

  function note(from: ServerName, to: ServerName, { path, body }: Wire): void {
    if (!path.startsWith('/_matrix/federation/v1/send/') || body === undefined) return
    const parsed = parseJson(body, { depthMax })
    const pdus = isObject(parsed) && Array.isArray(parsed['pdus']) ? parsed['pdus'].length : 0
    transactions.push({ from, to, pdus })
  }

  return {
    weather,
    transactions,
    connect: (server, serve) => void servers.set(server, serve),
    disconnect: (server) => void servers.delete(server),
    cut: (from, to) => void cuts.add(`${from} ${to}`),
    heal: () => cuts.clear(),
    client: (from, { backoff, clock }) => ({
      async call(to, request) {
        if (!request.ignoreBackoff && backoff.retryAt(to) > clock.now()) throw unreachable(to)
        const wire = wireOf(request)
        note(from, to, wire)
        const reply = await exchange(from, to, wire)
        const isRefused = request.refusalIsFailure === true && (reply?.status ?? 0) >= 300
        if (!reply || isRefused || reply.status === 429 || reply.status >= 500) backoff.failed(to)
        else backoff.succeeded(to)
        if (!reply || reply.status >= 500) throw unreachable(to)
        const parsed = parseJson(reply.text, { depthMax })
        if (reply.status < 300) return parsed
        const code = isObject(parsed) ? stringAt(parsed, 'errcode') : undefined
        throw new MatrixError(code ?? 'M_UNKNOWN', `${to} refused`, { status: reply.status })
      },
    }),
  }
}

function wireOf({ method, path, body }: RemoteRequest): Wire {
  return {
    method,
    path,
    body: typeof body === 'object' ? lenientCanonicalJson(body) : body,
  }
}

function unreachable(server: ServerName): MatrixError {
  return new MatrixError('M_CONNECTION_FAILED', `${server} does not answer`, { status: 502 })
}
