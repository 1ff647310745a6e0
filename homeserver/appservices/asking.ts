/** Asks application services over HTTP. Their addresses are the operator's choice: any may be reached. */
import { MatrixError } from '../../spec/errors.ts'
import type { RoomAlias, UserId } from '../../spec/ids.ts'
import { isObject, type Json } from '../../spec/json.ts'
import type { Clock } from '../platform/clock.ts'
import { createGuardedDispatcher } from '../platform/guarded-dispatcher.ts'
import { type GuardedReply, guardedRequest } from '../platform/guarded-request.ts'
import type { Appservice, Appservices } from './appservices.ts'

export const askingLimits = {
  /** Longest wait for a transaction to be taken, in ms. */
  transactionMs: 60_000,
  queryMs: 15_000,
  pingMs: 10_000,
  replyBytesMax: 4_194_304,
  /** Of the answer to a ping, what its asker is shown. */
  shownChars: 10_000,
} as const

export interface Asking extends AsyncDisposable {
  /** Rejects unless the service has taken the transaction; also when `signal` is aborted. */
  push(service: Appservice, txn: number, body: string, signal?: AbortSignal): Promise<void>
  /** Answers how long it took. @throws MatrixError as the specification has it */
  ping(service: Appservice, transactionId: string | undefined): Promise<number>
  /** Has a service made the user, or the alias, now that it was asked for. */
  makesUser(user: UserId): Promise<boolean>
  makesAlias(alias: RoomAlias): Promise<boolean>
  /** What each service that has the protocol answers; those that do not are left out. */
  thirdParty(
    path: readonly string[],
    query: Readonly<Record<string, string>>,
    protocol?: string,
  ): Promise<readonly Json[]>
}

interface Request {
  readonly method: 'GET' | 'PUT' | 'POST'
  /** Under `/_matrix/app/v1`; each part is encoded. */
  readonly path: readonly string[]
  readonly query?: Readonly<Record<string, string>>
  readonly body?: string
  readonly timeoutMs: number
  readonly signal?: AbortSignal
}

/** {@link https://spec.matrix.org/v1.19/application-service-api/#homeserver---application-service-api} */
export function createAsking({
  appservices,
  clock,
}: {
  readonly appservices: Pick<Appservices, 'all'>
  readonly clock: Clock
}): Asking {
  const dispatcher = createGuardedDispatcher({ allowedNetworks: ['0.0.0.0/0', '::/0'] })

  async function ask(service: Appservice, request: Request): Promise<GuardedReply> {
    const [reply, older] = [await send(service, '/_matrix/app/v1', request), olderBase(request)]
    // Services that were made before the paths had a version.
    const isUnknown = reply.status === 404 || reply.status === 405 || reply.status === 501
    if (!isUnknown || older === undefined) return reply
    const again = await send(service, older, request)
    return again.status < 300 ? again : reply
  }

  async function send(
    { url, hsToken }: Appservice,
    base: string,
    { method, path, query, body, timeoutMs, signal }: Request,
  ): Promise<GuardedReply> {
    if (url === undefined) throw new MatrixError('M_URL_NOT_SET', 'the service has no URL')
    const search = new URLSearchParams(query).toString()
    const where = [base, ...path.map(encodeURIComponent)].join('/')
    return await guardedRequest(dispatcher.agent, {
      method,
      url: new URL(`${url.replace(/\/+$/, '')}${where}${search && `?${search}`}`),
      headers: {
        authorization: `Bearer ${hsToken}`,
        ...(body !== undefined && { 'content-type': 'application/json' }),
      },
      ...(body !== undefined && { body }),
      timeoutMs,
      replyBytesMax: askingLimits.replyBytesMax,
      ...(signal && { signal }),
    })
  }

  /** Asks those that may know one after the other, until one does. */
  async function isMade(services: readonly Appservice[], path: readonly string[]) {
    for (const service of services) {
      if (service.url === undefined) continue
      const request = { method: 'GET', path, timeoutMs: askingLimits.queryMs } as const
      const reply = await ask(service, request).catch(() => undefined)
      if (reply?.status === 200) return true
    }
    return false
  }

  return {
    async push(service, txn, body, signal) {
      const { transactionMs: timeoutMs } = askingLimits
      const path = ['transactions', String(txn)]
      const request = { method: 'PUT', path, body, timeoutMs, ...(signal && { signal }) } as const
      const reply = await ask(service, request)
      if (reply.status !== 200) throw new Error(`${service.id} answered ${reply.status}`)
    },
    async ping(service, transactionId) {
      const body = JSON.stringify(
        transactionId === undefined ? {} : { transaction_id: transactionId },
      )
      const begun = clock.now()
      const request = {
        method: 'POST',
        path: ['ping'],
        body,
        timeoutMs: askingLimits.pingMs,
      } as const
      const reply = await send(service, '/_matrix/app/v1', request).catch((error: unknown) => {
        throw unreachable(error)
      })
      if (reply.status !== 200) throw badStatus(reply)
      return Math.max(0, clock.now() - begun)
    },
    makesUser: (user) =>
      isMade(
        appservices.all.filter((service) => service.covers(user)),
        ['users', user],
      ),
    makesAlias: (alias) =>
      isMade(
        appservices.all.filter((service) => service.names(alias)),
        ['rooms', alias],
      ),
    async thirdParty(path, query, protocol) {
      const speaking = appservices.all.filter(
        ({ url, protocols }) =>
          url !== undefined && (protocol === undefined || protocols.includes(protocol)),
      )
      const request: Request = {
        method: 'GET',
        path: ['thirdparty', ...path],
        query,
        timeoutMs: askingLimits.queryMs,
      }
      const replies = speaking.map((service) => ask(service, request).catch(() => undefined))
      return (await Promise.all(replies)).flatMap((reply) => {
        const value = reply?.status === 200 ? parsed(reply.body) : undefined
        return value === undefined ? [] : [value]
      })
    },
    [Symbol.asyncDispose]: () => dispatcher[Symbol.asyncDispose](),
  }
}

/** {@link https://spec.matrix.org/v1.19/application-service-api/#legacy-routes} */
function olderBase({ path: [first] }: Request): string | undefined {
  if (first === 'thirdparty') return '/_matrix/app/unstable'
  return first === 'ping' ? undefined : ''
}

function parsed(body: Buffer): Json | undefined {
  try {
    const value: unknown = JSON.parse(body.toString('utf8'))
    return isObject(value) || Array.isArray(value) ? value : undefined
  } catch {
    return undefined
  }
}

function unreachable(error: unknown): MatrixError {
  if (error instanceof MatrixError) return error
  const text = error instanceof Error ? error.message : String(error)
  const isLate =
    error instanceof Error && (error.name === 'TimeoutError' || /timeout/i.test(error.message))
  return isLate
    ? new MatrixError('M_CONNECTION_TIMEOUT', 'the service did not answer in time', { status: 504 })
    : new MatrixError('M_CONNECTION_FAILED', `the service cannot be reached: ${text}`, {
        status: 502,
      })
}

function badStatus({ status, body }: GuardedReply): MatrixError {
  return new MatrixError('M_BAD_STATUS', `Ping returned status ${status}`, {
    status: 502,
    fields: { status, body: body.toString('utf8').slice(0, askingLimits.shownChars) },
  })
}
