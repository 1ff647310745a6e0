import { describe, expect, it } from 'vitest'
import { type Client, register } from '../harness/client.ts'
import { server } from '../harness/fixtures.ts'

const type = 'org.example.owned'
/** With a separator and sigils, as an attacker would choose it. */
const suffix = '_more:!@#$123'
const forbidden = { status: 403, body: { errcode: 'M_FORBIDDEN' } }
const malformed = { status: 400, body: { errcode: 'M_BAD_JSON' } }

const put = (user: Client, room: string, key: string) =>
  user.ask('PUT', user.room(room, 'state', type, key), { body: {} })

/** A room in which everybody may set the state, with its creator and two others. */
async function roomOf(version: string) {
  const [creator, bob, carol] = [
    await register(server, 'creator'),
    await register(server, 'bob'),
    await register(server, 'carol'),
  ]
  const room = await creator.createRoom({
    room_version: version,
    preset: 'public_chat',
    power_level_content_override: { events: { [type]: 0 } },
  })
  await bob.join(room)
  await carol.join(room)
  return { creator, bob, carol, room }
}

describe('state with a user id as its key', () => {
  it('is set by that user', async () => {
    const { bob, room } = await roomOf('10')
    expect(await put(bob, room, bob.userId)).toMatchObject({ status: 200 })
  })

  it('is not set by anybody else, nor under longer keys, whatever their power', async () => {
    const { creator, bob, room } = await roomOf('10')
    const keys = [
      bob.userId,
      `${bob.userId}${suffix}`,
      `${creator.userId}${suffix}`,
      '@notinroom:elsewhere.example',
      '@oops',
    ]
    for (const key of keys) expect(await put(creator, room, key), key).toMatchObject(forbidden)
  })
})

describe.each(['org.matrix.msc3757.10', 'org.matrix.msc3757.11'])(
  'state with owners, in a room of version %s,',
  (version) => {
    it('is set by them, also under longer keys', async () => {
      const { bob, room } = await roomOf(version)
      expect(await put(bob, room, bob.userId)).toMatchObject({ status: 200 })
      expect(await put(bob, room, `${bob.userId}${suffix}`)).toMatchObject({ status: 200 })
    })

    it('is set by those with more power, for members and others', async () => {
      const { creator, bob, room } = await roomOf(version)
      const keys = [bob.userId, `${bob.userId}${suffix}`, '@notinroom:elsewhere.example']
      for (const key of keys) {
        expect(await put(creator, room, key), key).toMatchObject({ status: 200 })
      }
    })

    it('is not set by others, and no key is taken for that of its owner', async () => {
      const { bob, carol, room } = await roomOf(version)
      const keys = [carol.userId, `${carol.userId}${suffix}`, `@prefix_${bob.userId}${suffix}`]
      for (const key of keys) expect(await put(bob, room, key), key).toMatchObject(forbidden)
      // Without the underscore it names somebody of another server, or nobody where a port ends the server's name.
      const refused = await put(bob, room, `${bob.userId}${suffix.slice(1)}`)
      expect([forbidden, malformed]).toContainEqual({
        status: refused.status,
        body: { errcode: refused.body['errcode'] },
      })
    })

    it('needs a key that names an owner', async () => {
      const { creator, room } = await roomOf(version)
      for (const key of ['@oops', `${creator.userId}@${suffix.slice(1)}`]) {
        expect(await put(creator, room, key), key).toMatchObject(malformed)
      }
    })
  },
)
