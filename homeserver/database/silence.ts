import type { Connection } from './connection.ts'
import { DatabaseError } from './database-error.ts'

/**
 * Finds connections that wait for an answer which will never come: the path to the server has forgotten them, while
 * the server itself is well. A second connection asks it what the backend of a long wait is doing; one that is twice
 * in a row not at work has answered already, into nowhere.
 */
export interface SilenceWatch {
  stop(): void
}

const lookMs = 1_000
/** A wait that is shorter is not looked into. */
const patienceMs = 2_000
const askMs = 2_000

/** Watches `connections`, asking over what `open` gives. Never throws. */
export function watchForSilence(needs: {
  readonly connections: () => Iterable<Connection>
  readonly open: () => Promise<Connection>
}): SilenceWatch {
  let asking: Connection | undefined
  let busy = false
  let suspects = new Map<Connection, number>()

  async function look(): Promise<void> {
    const long = [...needs.connections()].filter(
      ({ waitingSince }) => waitingSince !== undefined && Date.now() - waitingSince > patienceMs,
    )
    if (long.length === 0) return await rest()
    if (!asking?.alive) asking = await needs.open()
    const working = await backendsAtWork(asking, long)
    const before = suspects
    suspects = new Map()
    for (const connection of long) {
      const { backend, waitingSince } = connection
      if (waitingSince === undefined || working.has(backend)) continue
      // The same wait as at the last look, and not a new one that has only begun.
      if (before.get(connection) === waitingSince) connection.destroy(silent())
      else suspects.set(connection, waitingSince)
    }
  }

  async function rest(): Promise<void> {
    const old = asking
    asking = undefined
    suspects = new Map()
    await old?.close()
  }

  const timer = setInterval(() => {
    if (busy) return
    busy = true
    look()
      // A server that does not answer at all is a matter of the statements' own deadlines.
      .catch(() => {})
      .finally(() => {
        busy = false
      })
  }, lookMs)
  timer.unref()
  return {
    stop: () => {
      clearInterval(timer)
      void rest()
    },
  }
}

async function backendsAtWork(
  asking: Connection,
  waiting: readonly Connection[],
): Promise<Set<number>> {
  const rows = await asking.run<{ pid: number }>(
    `select pid from pg_stat_activity
      where pid = any($1) and state in ('active', 'fastpath function call')`,
    [waiting.map(({ backend }) => backend)],
    askMs,
  )
  return new Set(rows.map(({ pid }) => pid))
}

function silent(): DatabaseError {
  return new DatabaseError('connection_lost', 'the server has answered, and the answer was lost')
}
