import { type StateKey, stateKeyOf } from '../../spec/events/event.ts'
import { stringAt } from '../../spec/json.ts'
import type { ChangedKeys } from './recent.ts'
import type { RoomInterval, Scope } from './request.ts'
import { heroesFor, type MemberSummaries } from './sliding/member-summaries.ts'
import type { StateView } from './state-view.ts'

/** {@link https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3sync_response-200_roomsummary} */
export interface Summary {
  /** For a room that has neither name nor alias. */
  readonly heroes: readonly string[] | undefined
  readonly joined: number
  readonly invited: number
}

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
  summaries: MemberSummaries,
  { room }: RoomInterval,
  view: StateView,
  { user }: Scope,
): Promise<Summary> {
  const summary = await summaries.get(room)
  const heroes = (await isNamed(view)) ? undefined : heroesFor(summary, user)
  const { joined, invited } = summary
  return { heroes: heroes?.map((hero) => hero.user), joined, invited }
}

async function isNamed(view: StateView): Promise<boolean> {
  const keys: StateKey[] = [nameKey, aliasKey]
  for (const [key, { pdu }] of await view.get(keys)) {
    if (stringAt(pdu.content, key === nameKey ? 'name' : 'alias')) return true
  }
  return false
}

/** As a member of a room's entry. */
export function summaryText({ heroes, joined, invited }: Summary): string {
  const names = heroes === undefined ? '' : `"m.heroes":${JSON.stringify(heroes)},`
  return `"summary":{${names}"m.joined_member_count":${joined},"m.invited_member_count":${invited}}`
}
