import type { ChildProcess } from 'node:child_process'
import type { Database } from '../../homeserver/database/database.ts'

/** How often and how long things break. Times in ms. */
export interface FaultPlan {
  /** Quiet time at the start, between two faults and at the end. */
  readonly pauseMs: number
  readonly workerStopMs: number
  readonly busStopMs: number
  /** Every this often, connections of the workers are killed. */
  readonly killBackendsEveryMs: number
  /** Every this often, the answer to a commit is lost on the way. */
  readonly loseAnswerEveryMs: number
  /** How often the round (SIGKILL, SIGSTOP, bus) is gone through at least; it goes on while there are writes to do. */
  readonly rounds: number
}

/** What happened. */
export interface FaultCounts {
  workersKilled: number
  workersStopped: number
  busStopped: number
  backendsKilled: number
  answersLost: number
}

export const sleep = (ms: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, ms))

/** Kills connections of the workers: mostly one, at times all of them. */
export async function killBackends(db: Database, all: boolean): Promise<number> {
  const rows = await db.query<{ killed: boolean }>(
    `select pg_terminate_backend(pid) as killed from pg_stat_activity
      where application_name like 'folkmoot%' and datname = current_database() and pid <> pg_backend_pid()
      order by random() limit $1`,
    [all ? 1_000 : 1],
  )
  return rows.filter(({ killed }) => killed).length
}

/** The bus over LISTEN has no process of its own to stop: its listeners are killed as fast as they come back. */
export async function killListeners(db: Database, forMs: number): Promise<number> {
  const end = performance.now() + forMs
  let killed = 0
  while (performance.now() < end) {
    const rows = await db
      .query(
        `select pg_terminate_backend(pid) from pg_stat_activity
          where application_name like 'folkmoot%listener' and datname = current_database()`,
        [],
      )
      .catch(() => [])
    killed += rows.length
    await sleep(20)
  }
  return killed
}

/** Redis, paused. */
export async function pauseProcess(child: ChildProcess, forMs: number): Promise<void> {
  child.kill('SIGSTOP')
  await sleep(forMs)
  child.kill('SIGCONT')
}
