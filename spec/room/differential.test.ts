/**
 * Random room histories, judged and resolved by the rules of this folder, by a reference written from the
 * specification's text, and by Synapse's own code. `FOLKMOOT_HISTORIES` says how many, `FOLKMOOT_SEED` which.
 */
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type History, type Outcome, plans } from '../../conformance-tests/differential/history.ts'
import { play } from '../../conformance-tests/differential/play.ts'
import { replayByReference } from '../../conformance-tests/differential/reference.ts'
import { replayHere } from '../../conformance-tests/differential/replica.ts'
import {
  type SynapseRules,
  startSynapseRules,
} from '../../conformance-tests/differential/synapse.ts'
import { hasSynapse } from '../../conformance-tests/harness/settings.ts'
import {
  alice,
  bob,
  furnishedRoom,
  membership,
  type Room,
  rulesFor,
  topic,
} from '../../conformance-tests/properties/room-builder.ts'
import { signingKeyFromSeed } from '../crypto/ed25519.ts'
import { signJson } from '../crypto/sign-json.ts'
import { parseServerName } from '../ids.ts'

const { FOLKMOOT_HISTORIES: histories = '200', FOLKMOOT_SEED: seed = '1' } = process.env
const runs = { numRuns: Number(histories), seed: Number(seed) }
/** A history takes some 20 ms; making a failing one smaller takes many more. */
const timeout = 60_000 + runs.numRuns * 200

const stepsMax = 60

function ours(history: History): Outcome {
  return replayHere(rulesFor(history.version), history)
}

/**
 * Without the questions that name rejected events as state: Synapse admits none of them to a resolved state, against
 * "Events that have been rejected due to failing auth based on the state at the event … are handled as usual".
 */
function askable(history: History): History {
  return { ...history, questions: history.questions.filter(({ hasRejected }) => !hasRejected) }
}

describe('random room histories', { timeout }, () => {
  it('come out as by the reference', () => {
    fc.assert(
      fc.property(plans(stepsMax), (plan) => {
        const history = play(plan)
        expect(ours(history)).toEqual(replayByReference(history))
      }),
      runs,
    )
  })

  it('have enough in them that is allowed, refused, forked and in conflict', () => {
    const sample = fc.sample(plans(stepsMax), { numRuns: 100, seed: runs.seed }).map(play)
    const outcomes = sample.map(ours)
    const verdicts = outcomes.flatMap(({ verdicts }) => verdicts)
    const share = (part: readonly unknown[], whole: readonly unknown[]) =>
      part.length / whole.length
    expect(
      share(
        verdicts.filter((each) => each === 'accept'),
        verdicts,
      ),
    ).toBeGreaterThan(0.8)
    expect(verdicts.filter((each) => each === 'chain').length).toBeGreaterThan(20)
    expect(verdicts.filter((each) => each === 'state').length).toBeGreaterThan(20)
    const merged = outcomes.flatMap(({ merged }) => merged.filter((each) => each !== null))
    expect(merged.length).toBeGreaterThan(100)
    const questions = sample.flatMap((history) => history.questions)
    const open = questions.filter(({ sets }) => new Set(sets.map(String)).size > 1)
    expect(share(open, questions)).toBeGreaterThan(0.8)
  })
})

describe.skipIf(!hasSynapse())('random room histories beside Synapse', { timeout }, () => {
  let synapse: SynapseRules

  beforeAll(() => {
    synapse = startSynapseRules()
  })

  afterAll(async () => {
    await synapse[Symbol.asyncDispose]()
  })

  it('come out as by Synapse', async () => {
    await fc.assert(
      fc.asyncProperty(plans(stepsMax), async (plan) => {
        const history = askable(play(plan))
        expect(ours(history)).toEqual(await synapse.replay(history))
      }),
      runs,
    )
  })

  describe('departs from the specification, of which this reports the end:', () => {
    const verdictsOn = async (room: Room) => {
      const history = {
        version: room.rules.version,
        events: [...room.events.values()],
        questions: [],
      }
      const [here, there] = [ours(history), await synapse.replay(history)]
      return [here.verdicts.at(-1), there.verdicts.at(-1)]
    }

    it('it lets nobody invite or kick users of other servers where m.federate is false', async () => {
      // "… and the sender domain of the event does not match the sender domain of the create event, reject."
      const createContent = { 'm.federate': false }
      const room = furnishedRoom('11', { ids: 'hashes', createContent })
      room.main.send(membership(bob, 'invite', alice))
      expect(await verdictsOn(room)).toEqual(['accept', 'chain'])
    })

    it('it tries no further signature of a third-party invite after one that fails', async () => {
      // "If any signature in signed matches any public key in the m.room.third_party_invite event, allow."
      const room = furnishedRoom('11', { ids: 'hashes' })
      const [right, wrong] = [1, 2].map((seed) =>
        signingKeyFromSeed(`ed25519:${3 - seed}`, new Uint8Array(32).fill(seed)),
      )
      if (right === undefined || wrong === undefined) throw new Error('there are two keys')
      const invite = { display_name: 'b', public_key: right.publicKey, key_validity_url: '' }
      const type = 'm.room.third_party_invite'
      room.main.send({ type, stateKey: 'token', sender: alice, content: invite })
      const server = parseServerName('id.example')
      const once = signJson({ mxid: bob, token: 'token' }, server, wrong)
      const signed = signJson(once, server, right)
      const state = [...room.main.state.values()]
      const auth = state.filter((id) => room.events.get(id)?.type !== 'm.room.history_visibility')
      const content = { membership: 'invite', third_party_invite: { display_name: 'b', signed } }
      room.main.send({ ...membership(bob, 'invite', alice), content, auth })
      expect(await verdictsOn(room)).toEqual(['accept', 'chain'])
    })

    it('it lets no resolution have an event that was rejected', async () => {
      // "Events that have been rejected due to failing auth based on the state at the event … are handled as usual"
      const room = furnishedRoom('12', {
        ids: 'hashes',
        joined: [bob],
        levels: { state_default: 0 },
      })
      const member = room.main.read('m.room.member', bob)?.eventId
      const levels = room.main.read('m.room.power_levels', '')?.eventId
      room.main.send(membership(bob, 'leave', alice))
      const before = [...room.main.state.values()]
      const auth = [member, levels].filter((id) => id !== undefined)
      const late = room.main.send({ ...topic('late', bob), auth })
      const question = {
        sets: [before, [...before, late.eventId]],
        missing: [],
        hasRejected: true,
      }
      const history = { version: '12', events: [...room.events.values()], questions: [question] }
      const [here, there] = [ours(history), await synapse.replay(history)]
      expect([here.verdicts.at(-1), there.verdicts.at(-1)]).toEqual(['state', 'state'])
      expect(here.answers[0]).toContain(late.eventId)
      expect(there.answers[0]).not.toContain(late.eventId)
      expect(replayByReference(history)).toEqual(here)
    })
  })
})
