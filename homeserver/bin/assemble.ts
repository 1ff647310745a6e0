import type { RequestListener } from 'node:http'
import type { Accounts } from '../accounts/accounts.ts'
import type { Config } from '../config.ts'
import type { Database } from '../database/database.ts'
import type { Instance } from '../keys/instance.ts'
import type { Clock } from '../platform/clock.ts'
import type { Logger } from '../platform/log.ts'
import type { Metrics } from '../platform/metrics.ts'
import type { Random } from '../platform/random.ts'

/** What every process of ours has before its slices. */
export interface Foundation {
  readonly config: Config
  readonly db: Database
  readonly instance: Instance
  readonly log: Logger
  readonly clock: Clock
  readonly random: Random
  readonly metrics: Metrics
  /** Aborted when the process begins to stop: waiting requests are answered at once. */
  readonly stopping: AbortSignal
  /** Version of this program. */
  readonly version: string
}

/** The house with its two doors. */
export interface Assembled extends AsyncDisposable {
  readonly client: RequestListener
  readonly federation: RequestListener
  readonly accounts: Pick<Accounts, 'register' | 'hasAdmin' | 'createAdminInvite'> | undefined
}

/** Builds every slice and both borders. */
export async function assemble(_foundation: Foundation): Promise<Assembled> {
  const unrecognized: RequestListener = (_request, response) => {
    response.writeHead(404, { 'content-type': 'application/json' })
    response.end('{"errcode":"M_UNRECOGNIZED","error":"Unrecognized request"}')
  }
  return {
    client: unrecognized,
    federation: unrecognized,
    accounts: undefined,
    [Symbol.asyncDispose]: async () => {},
  }
}
