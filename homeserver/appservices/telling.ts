/** Keeps every application service told of what concerns it, by the process that owns it. */
import { z } from 'zod'
import { forbidden } from '../../spec/errors.ts'
import type { Accounts } from '../accounts/accounts.ts'
import type { Presence, PresenceState } from '../presence/presence.ts'
import type { Typing } from '../receipts/typing.ts'
import type { Requester, Rooms } from '../rooms/rooms.ts'
import type { Tail } from '../stream/log.ts'
import type { OwnedMethods } from '../stream/owned-methods.ts'
import type { RunningProcesses } from '../stream/processes.ts'
import type { Appservice, Appservices } from './appservices.ts'
import type { Asking } from './asking.ts'
import { type Interest, type InterestNeeds, interestOf } from './interest.ts'
import { createLane, type Lane, type LaneNeeds } from './lane.ts'

interface Needs
  extends Omit<LaneNeeds, 'isOurs' | 'ensureUser'>,
    Omit<InterestNeeds, 'aliasesIn' | 'memberships' | 'clock'> {
  readonly appservices: Pick<Appservices, 'all' | 'byId'>
  readonly asking: Asking
  readonly accounts: Pick<Accounts, 'find'>
  readonly memberships: LaneNeeds['memberships'] & InterestNeeds['memberships']
  readonly rooms: LaneNeeds['rooms'] & Pick<Rooms, 'aliasesOf'>
  readonly typing: Pick<Typing, 'onTyping' | 'typingOf'>
  readonly presence: Pick<Presence, 'onChange'>
  readonly tail: LaneNeeds['tail'] & Pick<Tail, 'subscribe'>
  readonly processes: Pick<RunningProcesses, 'ownerOf' | 'onChange'>
  readonly methods: Pick<OwnedMethods, 'add'>
}

export interface Telling extends AsyncDisposable {
  /** Begins; once, when the log's tail has started. Without services nothing runs. */
  start(): void
  /** Asks a service whether it is there, as it wished; answers the milliseconds that it took. */
  ping(who: Requester, id: string, transactionId: string | undefined): Promise<number>
}

interface Told {
  readonly service: Appservice
  readonly lane: Lane
  readonly interest: Interest
}

const keyOf = (id: string) => `appservice ${id}`

export function createTelling(needs: Needs): Telling {
  const lanes = new Map<string, Told>()
  const subscriptions: Disposable[] = []
  const wake = needs.methods.add({
    name: 'appservices/wake',
    args: z.object({ id: z.string() }),
    result: z.null(),
    async run({ id }) {
      lanes.get(id)?.lane.wake()
      return null
    },
  })

  return {
    start() {
      for (const service of needs.appservices.all) {
        if (service.url !== undefined) lanes.set(service.id, toldOf(needs, service))
      }
      if (lanes.size === 0) return
      const all = [...lanes.values()]
      subscriptions.push(
        needs.tail.subscribe('application services', (rows) => {
          for (const { lane } of all) lane.onRows(rows)
        }),
        needs.processes.onChange(() => {
          for (const { lane } of all) lane.wake()
        }),
        ...tellFleeting(needs, all),
      )
      for (const { lane } of all) lane.wake()
    },
    async ping(who, id, transactionId) {
      const service = needs.appservices.byId(id)
      if (service === undefined || who.appservice !== id) {
        throw forbidden('Only the application service itself may')
      }
      const ms = await needs.asking.ping(service, transactionId)
      await wake(keyOf(id), { id })
      return ms
    },
    async [Symbol.asyncDispose]() {
      for (const subscription of subscriptions) subscription[Symbol.dispose]()
      for (const { lane } of lanes.values()) await lane[Symbol.asyncDispose]()
    },
  }
}

function toldOf(needs: Needs, service: Appservice): Told {
  const who: Requester = { user: service.sender, guest: false, admin: true }
  const interest = interestOf(service, {
    ...needs,
    aliasesIn: (room) => needs.rooms.aliasesOf(who, room),
  })
  const lane = createLane(
    {
      ...needs,
      isOurs: () => needs.processes.ownerOf(keyOf(service.id)) === undefined,
      async ensureUser(user) {
        if ((await needs.accounts.find(user)) === undefined) await needs.asking.makesUser(user)
      },
    },
    service,
    interest,
  )
  return { service, lane, interest }
}

/** Who types and who is online: not in the log, and told as it is when the transaction is made. */
function tellFleeting(needs: Needs, all: readonly Told[]): Disposable[] {
  const hearing = all.filter(({ service }) => service.hearsEphemeral)
  if (hearing.length === 0) return []
  return [
    needs.typing.onTyping(({ room }) => {
      for (const { interest, lane } of hearing) {
        lane.add(`typing ${room}`, async () => {
          if (!(await interest.inRoom(room))) return undefined
          const content = { user_ids: needs.typing.typingOf(room) }
          return { type: 'm.typing', room_id: room, content }
        })
      }
    }),
    needs.presence.onChange(({ user, what: _, ...state }) => {
      for (const { interest, lane } of hearing) {
        lane.add(`presence ${user}`, async () => {
          if (!(await interest.inUser(user))) return undefined
          return { type: 'm.presence', sender: user, content: presenceOf(state, needs.clock.now()) }
        })
      }
    }),
  ]
}

function presenceOf(state: PresenceState, now: number) {
  return {
    presence: state.presence,
    last_active_ago: Math.max(0, now - state.lastActiveTs),
    currently_active: state.currentlyActive,
    ...(state.statusMsg !== undefined && { status_msg: state.statusMsg }),
  }
}
