/** Transactions on their way: one id each, a bounded number at a time, failures told to the backoff. */
import type { Destinations } from '../homeserver/destinations/destinations.ts'
import type { Clock } from '../homeserver/platform/clock.ts'
import type { Logger } from '../homeserver/platform/log.ts'
import type { Processes } from '../homeserver/stream/log.ts'
import type { ServerName } from '../spec/ids.ts'
import { isObject, objectAt, stringAt } from '../spec/json.ts'
import { type OutgoingTransaction, transactionText } from './outgoing.ts'
import type { FederationClient } from './request.ts'

export interface Transport {
  /** True when the destination has taken the transaction. Never rejects. */
  send(to: ServerName, transaction: OutgoingTransaction): Promise<boolean>
  /** Runs the work when one of the places is free, in the order of asking. */
  inPlace(work: () => Promise<void>): Promise<void>
}

/** Destinations that are sent to at a time. */
const placesMax = 64
const timeoutMs = 60_000

export function createTransport(needs: {
  readonly serverName: ServerName
  readonly client: FederationClient
  readonly destinations: Pick<Destinations, 'backoff'>
  readonly processes: Pick<Processes, 'self'>
  readonly clock: Clock
  readonly log: Logger
}): Transport {
  const { client, clock, log, destinations } = needs
  const prefix = `${clock.now().toString(36)}${needs.processes.self.slice(0, 4)}`
  const waiting: (() => void)[] = []
  let taken = 0
  let count = 0

  return {
    async send(to, transaction) {
      const path = `/_matrix/federation/v1/send/${prefix}_${count++}`
      const body = transactionText(needs.serverName, clock.now(), transaction)
      try {
        const reply = await client.call(to, {
          method: 'PUT',
          path,
          body,
          timeoutMs,
          refusalIsFailure: true,
        })
        logRefusals(log, to, reply)
        return true
      } catch (error) {
        // Also when nothing was sent, for too many requests under way: there must be a pause.
        destinations.backoff.failed(to)
        log.info({ destination: to, error: String(error) }, 'transaction was not taken')
        return false
      }
    },
    async inPlace(work) {
      if (taken >= placesMax) await new Promise<void>((resolve) => waiting.push(resolve))
      else taken++
      try {
        await work()
      } finally {
        const next = waiting.shift()
        // The place goes to the next in line.
        if (next) next()
        else taken--
      }
    },
  }
}

function logRefusals(log: Logger, to: ServerName, reply: unknown): void {
  const results = isObject(reply) ? objectAt(reply, 'pdus') : undefined
  for (const [event, result] of Object.entries(results ?? {})) {
    const error = isObject(result) ? stringAt(result, 'error') : undefined
    if (error !== undefined) log.info({ destination: to, event, error }, 'PDU was refused')
  }
}
