import { type StateKey, stateKeyOf } from '../../spec/events/event.ts'
import { stringAt } from '../../spec/json.ts'
import type { MembershipRow, Memberships } from '../rooms/rooms.ts'
import type { ChangedKeys } from './recent.ts'
import type { RoomInterval, Scope } from './request.ts'
import type { StateView } from './state-view.ts'

/** {@link https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3sync_response-200_roomsummary} */
export interface Summary {
  /** For a room that has neither name nor alias. */
  readonly heroes: readonly string[] | undefined
  readonly joined: number
  readonly invited: number
}

const heroesMax = 5
const nameKey = stateKeyOf('m.room.name', '')
const aliasKey = stateKeyOf('m.room.canonical_alias', '')
const memberPrefix = stateKeyOf('m.room.member', '')

/** May the summary be another than the client has. */
export function summaryChanged(changed: ChangedKeys, isWhole: boolean): boolean {
  if (isWhole || changed === '*') return true
  for (const key of changed) {
    if (key === nameKey || key === aliasKey || key.startsWith(memberPrefix)) return true
  }
  return false
}

export async function readSummary(
  memberships: Pick<Memberships, 'ofRoom'>,
  { room }: RoomInterval,
  view: StateView,
  scope: Scope,
): Promise<Summary> {
  const rows = [...(await memberships.ofRoom(room)).values()]
  const count = (wanted: string) => rows.filter(({ membership }) => membership === wanted).length
  const named = await isNamed(view)
  const heroes = named ? undefined : heroesOf(rows, scope.user)
  return { heroes, joined: count('join'), invited: count('invite') }
}

async function isNamed(view: StateView): Promise<boolean> {
  const keys: StateKey[] = [nameKey, aliasKey]
  for (const [key, { pdu }] of await view.get(keys)) {
    if (stringAt(pdu.content, key === nameKey ? 'name' : 'alias')) return true
  }
  return false
}

/** The first who came; those who are gone when nobody else is there. */
function heroesOf(rows: readonly MembershipRow[], self: string): string[] {
  const others = rows.filter(({ user }) => user !== self)
  const here = others.filter(({ membership }) => membership === 'join' || membership === 'invite')
  const gone = others.filter(({ membership }) => membership === 'leave' || membership === 'ban')
  const candidates = here.length > 0 ? here : gone
  return candidates
    .sort((a, b) => a.since - b.since)
    .slice(0, heroesMax)
    .map(({ user }) => user)
}

/** As a member of a room's entry. */
export function summaryText({ heroes, joined, invited }: Summary): string {
  const names = heroes === undefined ? '' : `"m.heroes":${JSON.stringify(heroes)},`
  return `"summary":{${names}"m.joined_member_count":${joined},"m.invited_member_count":${invited}}`
}
