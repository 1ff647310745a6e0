/** Deleting rooms for an administrator: this server's users leave, then everything about the room goes, as a job. */
import { MatrixError } from '../../spec/errors.ts'
import {
  isRoomId,
  type RoomId,
  type ServerName,
  serverOfUser,
  type UserId,
} from '../../spec/ids.ts'
import type { JsonObject } from '../../spec/json.ts'
import type { Database } from '../database/database.ts'
import type { Purge, Purges } from '../events/purges.ts'
import type { Jobs } from '../jobs/jobs.ts'
import type { Random } from '../platform/random.ts'
import type { LogWriter } from '../stream/log.ts'
import { writeDone } from '../stream/settled.ts'
import { aliasesOfRoom } from './queries.ts'
import type { Memberships } from './rooms.ts'

export interface RoomDeletions {
  /**
   * Begins to take a room from this server; with `purge` nothing of it is left. Answers the deletion's id, under which
   * `Purges.find` has it. @throws MatrixError M_BAD_STATE while the room is being deleted
   */
  begin(
    room: RoomId,
    by: UserId,
    options: { readonly block: boolean; readonly purge: boolean },
  ): Promise<string>
}

const jobKind = 'rooms.delete'
const aliasesMax = 1_000

interface Needs {
  readonly db: Database
  readonly serverName: ServerName
  readonly log: Pick<LogWriter, 'write'>
  readonly random: Random
  readonly jobs: Pick<Jobs, 'row' | 'handle' | 'wake'>
  readonly memberships: Pick<Memberships, 'ofRoom'>
  readonly purges: Purges
  readonly leave: (user: UserId, room: RoomId) => Promise<void>
}

export function createRoomDeletions(needs: Needs): RoomDeletions {
  const { db, serverName, log, random, jobs, memberships, purges, leave } = needs

  async function store(purge: Purge): Promise<void> {
    await writeDone(log, { entries: [], tables: { purges: [purges.row(purge)] } })
  }

  /** Lets the local users go; who cannot leave is forgotten with the room. */
  async function evacuate(room: RoomId): Promise<JsonObject> {
    const gone: UserId[] = []
    const failed: UserId[] = []
    for (const { user, membership } of [...(await memberships.ofRoom(room)).values()]) {
      if (serverOfUser(user) !== serverName) continue
      if (membership === 'leave' || membership === 'ban') continue
      try {
        await leave(user, room)
        gone.push(user)
      } catch (error) {
        if (!(error instanceof MatrixError)) throw error
        failed.push(user)
      }
    }
    return { kicked_users: gone, failed_to_kick_users: failed }
  }

  jobs.handle(jobKind, async ({ id, payload: { room, purge: withPurge } }) => {
    const [purge] = await purges.find({ id })
    if (!isRoomId(room) || purge === undefined) return undefined
    const aliases = (await aliasesOfRoom(db, room, aliasesMax)).map(({ alias }) => alias)
    // When the job begins anew, the users of the first time are known.
    const done = 'kicked_users' in purge.detail
    const detail = done
      ? purge.detail
      : { ...(await evacuate(room)), local_aliases: aliases, step: 'purging' }
    if (!done) await store({ ...purge, detail })
    if (withPurge === true) await purges.forgetRoom(room)
    const ended: Purge = { ...purge, detail, status: 'complete' }
    return { entries: [], tables: { purges: [purges.row(ended)] } }
  })

  return {
    async begin(room, by, { block, purge: withPurge }) {
      const others = await purges.find({ room })
      if (others.some(({ status }) => status === 'active')) {
        throw new MatrixError('M_BAD_STATE', 'the room is being purged', { status: 400 })
      }
      if (block) await purges.setBlocked(room, true, by)
      const purge: Purge = {
        ...{ id: random.text(16), room, kind: 'room', status: 'active', detail: {} },
      }
      const job = jobs.row(jobKind, { room, purge: withPurge }, { id: purge.id })
      await writeDone(log, { entries: [], tables: { purges: [purges.row(purge)], jobs: [job] } })
      jobs.wake()
      return purge.id
    },
  }
}
