import type { StateKey } from '../../../spec/events/event.ts'
import type { Count } from '../../notifications/room-count.ts'
import type { MembershipRow } from '../../rooms/rooms.ts'
import { objectOf } from '../event-text.ts'
import type { Dialect } from './request.ts'
import type { About } from './room.ts'

/** A room's entry; events are JSON texts. */
export interface RoomEntry extends About {
  readonly isInitial: boolean
  readonly isExpanded?: boolean
  readonly membership: string
  readonly lists: readonly string[]
  readonly requiredState?: readonly string[]
  readonly removed?: readonly StateKey[]
  readonly timeline?: readonly string[]
  readonly limited?: boolean
  readonly live?: number
  readonly prevBatch?: string
  readonly strippedState?: readonly string[]
  readonly unread?: Count
}

/** Writes an entry as clients of a dialect read it. */
export function roomText(dialect: Dialect, entry: RoomEntry): string {
  const { bump, isDm, isInitial, limited, live, prevBatch, joined, invited } = entry
  return objectOf([
    bump === undefined ? undefined : `"bump_stamp":${bump}`,
    ...ofDialect[dialect](entry),
    isInitial ? '"initial":true' : undefined,
    isDm === undefined ? undefined : `"is_dm":${isDm}`,
    entry.avatar === undefined ? undefined : `"avatar":${JSON.stringify(entry.avatar)}`,
    entry.heroes && entry.heroes.length > 0 ? `"heroes":${heroesText(entry.heroes)}` : undefined,
    joined === undefined ? undefined : `"joined_count":${joined}`,
    invited === undefined ? undefined : `"invited_count":${invited}`,
    listText('timeline', entry.timeline),
    limited === undefined ? undefined : `"limited":${limited}`,
    live === undefined ? undefined : `"num_live":${live}`,
    prevBatch === undefined ? undefined : `"prev_batch":${JSON.stringify(prevBatch)}`,
  ])
}

type Members = readonly (string | undefined)[]

const ofDialect: Readonly<Record<Dialect, (entry: RoomEntry) => Members>> = {
  unstable: ({ name, isExpanded, requiredState, strippedState, unread }) => [
    name === undefined || name === null ? undefined : `"name":${JSON.stringify(name)}`,
    isExpanded ? '"unstable_expanded_timeline":true' : undefined,
    listText('required_state', requiredState),
    listText('invite_state', strippedState),
    unread && `"notification_count":${unread.notify},"highlight_count":${unread.highlight}`,
  ],
  final: ({ name, isExpanded, requiredState = [], removed = [], strippedState, ...entry }) => [
    name === undefined ? undefined : `"name":${JSON.stringify(name)}`,
    isExpanded ? '"expanded_timeline":true' : undefined,
    listText('required_state', [...requiredState, ...removed.map(stubText)]),
    strippedState && `"stripped_state":[${strippedState.join(',')}]`,
    `"membership":${JSON.stringify(entry.membership)}`,
    entry.lists.length > 0 ? `"lists":${JSON.stringify(entry.lists)}` : undefined,
  ],
}

function listText(name: string, texts: readonly string[] | undefined): string | undefined {
  return texts === undefined || texts.length === 0 ? undefined : `"${name}":[${texts.join(',')}]`
}

function heroesText(heroes: readonly MembershipRow[]): string {
  return JSON.stringify(
    heroes.map(({ user, displayName, avatarUrl }) => ({
      user_id: user,
      ...(displayName !== undefined && { displayname: displayName }),
      ...(avatarUrl !== undefined && { avatar_url: avatarUrl }),
    })),
  )
}

/** State that is gone has no content. */
function stubText(key: StateKey): string {
  const end = key.indexOf('\u0000')
  return JSON.stringify({ type: key.slice(0, end), state_key: key.slice(end + 1) })
}
