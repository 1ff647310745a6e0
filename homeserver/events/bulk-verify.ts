/** The checks on receipt of many events of one room at once: in threads when there are very many. */
import type { Pdu } from '../../spec/events/event.ts'
import type { RoomId, ServerName } from '../../spec/ids.ts'
import { isObject, type JsonObject, parseJson } from '../../spec/json.ts'
import type { RoomVersionRules } from '../../spec/room/version.ts'
import type { Clock } from '../platform/clock.ts'
import { createThreads, type Threads } from '../platform/threads.ts'
import type { EventJson, KeyRing } from '../ports.ts'
import type { Verifier } from './verify.ts'
import type { EventTexts, KnownKey, TextVerdict, VerifiedText, WantedKey } from './verify-thread.ts'

/** An event that passed; parsed where that was done here anyway. */
export interface VerifiedEvent extends VerifiedText {
  readonly pdu?: Pdu
}

export interface BulkVerifier {
  /** Leaves out what fails. */
  verifyAll(
    room: RoomId,
    rules: RoomVersionRules,
    events: readonly EventJson[],
  ): Promise<VerifiedEvent[]>
}

/** Events that are checked on the main thread, a slice of them at a stretch. */
const onMainMax = 1_000
const sliceEvents = 50
/** Events of one message to a thread, and messages under way. */
const batchEvents = 500
const batchesUnderWay = 8
const depthMax = 200

interface Needs {
  readonly keys: KeyRing
  readonly clock: Clock
  readonly verifier: Verifier
}

export function createBulkVerifier(needs: Needs, limits = { onMainMax }): BulkVerifier {
  return {
    async verifyAll(room, rules, events) {
      if (events.length <= limits.onMainMax) return await verifyHere(needs, room, rules, events)
      const file = new URL('./verify-thread.ts', import.meta.url)
      await using threads = createThreads<EventTexts, readonly TextVerdict[]>(file)
      return await new Batches(needs, threads, room, rules).verify(events)
    },
  }
}

async function verifyHere(
  { verifier }: Needs,
  room: RoomId,
  rules: RoomVersionRules,
  events: readonly EventJson[],
): Promise<VerifiedEvent[]> {
  const good: VerifiedEvent[] = []
  for (let at = 0; at < events.length; at += sliceEvents) {
    const slice = events.slice(at, at + sliceEvents).flatMap(parsed)
    // Keys of many servers are fetched together.
    const results = await Promise.all(slice.map((json) => verifier.verify(json, room, rules)))
    for (const result of results) {
      if (result.kind !== 'good') continue
      const { pdu } = result
      const { eventId, type, stateKey, authEvents } = pdu
      const text = pdu.text ?? JSON.stringify(pdu.json)
      good.push({
        eventId,
        type,
        authEvents,
        text,
        pdu,
        ...(stateKey !== undefined && { stateKey }),
      })
    }
    await new Promise((resolve) => setImmediate(resolve))
  }
  return good
}

function parsed(event: EventJson): JsonObject[] {
  if (typeof event !== 'string') return [event]
  try {
    const json = parseJson(event, { depthMax })
    return isObject(json) ? [json] : []
  } catch {
    return []
  }
}

/** One set of events on its way through the threads, with the keys that they turned out to need. */
class Batches {
  readonly #needs: Needs
  readonly #threads: Threads<EventTexts, readonly TextVerdict[]>
  readonly #room: RoomId
  readonly #rules: RoomVersionRules
  readonly #keys = new Map<string, KnownKey>()
  readonly #asked = new Map<string, Promise<void>>()

  constructor(
    needs: Needs,
    threads: Threads<EventTexts, readonly TextVerdict[]>,
    room: RoomId,
    rules: RoomVersionRules,
  ) {
    this.#needs = needs
    this.#threads = threads
    this.#room = room
    this.#rules = rules
  }

  async verify(events: readonly EventJson[]): Promise<VerifiedEvent[]> {
    const found: VerifiedEvent[][] = []
    let next = 0
    const work = async () => {
      while (next < events.length) {
        const at = next
        next += batchEvents
        const texts = events.slice(at, at + batchEvents).map(textOf)
        found[at / batchEvents] = await this.#batch(texts)
      }
    }
    await Promise.all(Array.from({ length: batchesUnderWay }, work))
    return found.flat()
  }

  async #batch(texts: readonly string[]): Promise<VerifiedEvent[]> {
    const first = await this.#run(texts)
    const { good, wanted, again } = sorted(texts, first)
    if (again.length === 0) return good
    await Promise.all(wanted.map((key) => this.#ask(key)))
    const second = sorted(again, await this.#run(again))
    // What needs a key that was valid only once is looked at singly.
    const rest = await verifyHere(this.#needs, this.#room, this.#rules, second.again)
    return [...good, ...second.good, ...rest]
  }

  #run(texts: readonly string[]): Promise<readonly TextVerdict[]> {
    const { version } = this.#rules
    return this.#threads.run({ version, room: this.#room, texts, keys: [...this.#keys.values()] })
  }

  #ask([server, keyId, validAt]: WantedKey): Promise<void> {
    const name = `${server} ${keyId}`
    const asked = this.#asked.get(name) ?? this.#fetch(name, server, keyId, validAt)
    this.#asked.set(name, asked)
    return asked
  }

  async #fetch(name: string, server: ServerName, keyId: string, validAt: number): Promise<void> {
    const { keys, clock } = this.#needs
    for (const at of [Math.max(clock.now(), validAt), validAt]) {
      const key = await keys.verifyKey(server, keyId, at)
      if (key === undefined) continue
      this.#keys.set(name, [server, keyId, key, at])
      return
    }
  }
}

function textOf(event: EventJson): string {
  return typeof event === 'string' ? event : JSON.stringify(event)
}

function sorted(texts: readonly string[], verdicts: readonly TextVerdict[]) {
  const good: VerifiedEvent[] = []
  const wanted: WantedKey[] = []
  const again: string[] = []
  for (const [at, verdict] of verdicts.entries()) {
    if ('good' in verdict) good.push(verdict.good)
    if (!('wanted' in verdict)) continue
    wanted.push(...verdict.wanted)
    again.push(texts[at] ?? '')
  }
  return { good, wanted, again }
}
