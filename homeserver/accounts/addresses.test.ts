import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { parseServerName, parseUserId } from '../../spec/ids.ts'
import { type TestDatabase, testDatabase } from '../database/test-database.ts'
import { FakeClock } from '../platform/fake-clock.ts'
import { systemRandom } from '../platform/random.ts'
import { type Addresses, addressLimits, createAddresses } from './addresses.ts'
import { cleanAddress } from './mail-address.ts'
import type { MailSubject } from './mailer.ts'

const alice = parseUserId('@alice:here.test')
const bob = parseUserId('@bob:here.test')
const idServer = parseServerName('id.test')
const clock = new FakeClock()
const sent: (MailSubject & { readonly to: string })[] = []
const unbound: string[] = []
let forgets = true
let database: TestDatabase
let addresses: Addresses

beforeAll(async () => {
  database = await testDatabase()
  addresses = createAddresses({
    ...{ db: database.db, clock, random: systemRandom },
    mailer: {
      enabled: true,
      async send(to, subject) {
        sent.push({ to, ...subject })
      },
    },
    identity: {
      bind: async () => ({ medium: 'email', address: 'alice@bound.test' }),
      async unbind(server, { address }) {
        unbound.push(`${address} at ${server}`)
        return forgets
      },
    },
  })
}, 60_000)
afterAll(() => database[Symbol.asyncDispose]())
beforeEach(() => {
  sent.length = 0
})

let made = 0
async function ask(purpose: 'register' | 'add' | 'password', email: string, sendAttempt = 1) {
  const clientSecret = `secret${made++}`
  const { sid } = await addresses.requestToken({ purpose, email, clientSecret, sendAttempt })
  const mail = sent.at(-1)
  return { credentials: { sid, clientSecret }, token: mail?.link.token ?? '', mail }
}

async function give(user: typeof alice, address: string) {
  await addresses.add(user, { medium: 'email', address, validatedAt: clock.now() })
}

describe('an address', () => {
  it('is proved by the token of the mail, for what it was asked', async () => {
    const { credentials, token, mail } = await ask('add', 'Someone@Example.org ')
    expect(mail).toMatchObject({ to: 'someone@example.org', purpose: 'add', owner: undefined })
    expect(await addresses.validated(credentials, ['add'])).toBeUndefined()
    expect(await addresses.submitToken(credentials, `${token}x`)).toBeUndefined()
    const other = { ...credentials, clientSecret: 'other' }
    expect(await addresses.submitToken(other, token)).toBeUndefined()
    expect(await addresses.submitToken(credentials, token)).toEqual({
      address: 'someone@example.org',
    })
    const proved = { medium: 'email', address: 'someone@example.org', validatedAt: clock.now() }
    expect(await addresses.validated(credentials, ['add'])).toEqual(proved)
    expect(await addresses.validated(credentials, ['register', 'password'])).toBeUndefined()
    expect(await addresses.validated(other, ['add'])).toBeUndefined()
  })

  it('is proved for an hour, and the link is good for one', async () => {
    const { credentials, token } = await ask('register', 'late@example.org')
    await clock.advance(addressLimits.sessionMs + 1)
    expect(await addresses.submitToken(credentials, token)).toBeUndefined()
    const again = await ask('register', 'late@example.org')
    await addresses.submitToken(again.credentials, again.token)
    await clock.advance(addressLimits.sessionMs + 1)
    expect(await addresses.validated(again.credentials, ['register'])).toBeUndefined()
  })

  it('gets another mail only for a higher attempt, and then the old link is no good', async () => {
    const request = { purpose: 'add', email: 'again@example.org', clientSecret: 'same' } as const
    const first = await addresses.requestToken({ ...request, sendAttempt: 1 })
    const old = sent[0]?.link.token ?? ''
    expect(await addresses.requestToken({ ...request, sendAttempt: 1 })).toEqual(first)
    expect(sent).toHaveLength(1)
    expect(await addresses.requestToken({ ...request, sendAttempt: 2 })).toEqual(first)
    expect(sent).toHaveLength(2)
    const credentials = { ...first, clientSecret: 'same' }
    expect(await addresses.submitToken(credentials, old)).toBeUndefined()
    expect(await addresses.submitToken(credentials, sent[1]?.link.token ?? '')).toBeDefined()
    await addresses.requestToken({ ...request, sendAttempt: 3 })
    expect(await addresses.validated(credentials, ['add'])).toBeUndefined()
  })

  it('tells nobody but its owner that it belongs to an account', async () => {
    await give(alice, 'alice@example.org')
    const taken = await ask('register', 'alice@example.org')
    const free = await ask('register', 'free@example.org')
    expect(Object.keys(taken.credentials)).toEqual(Object.keys(free.credentials))
    expect([taken.mail?.owner, free.mail?.owner]).toEqual([alice, undefined])
    const unknown = await ask('password', 'unknown@example.org')
    expect(unknown.mail).toMatchObject({ owner: undefined, purpose: 'password' })
  })

  it('belongs to one user', async () => {
    await give(alice, 'one@example.org')
    await give(alice, 'one@example.org')
    const taken = addresses.add(bob, {
      medium: 'email',
      address: 'one@example.org',
      validatedAt: 1,
    })
    await expect(taken).rejects.toMatchObject({ errcode: 'M_THREEPID_IN_USE' })
    expect(await addresses.ownerOf({ medium: 'email', address: 'one@example.org' })).toBe(alice)
    await addresses.delete(bob, { medium: 'email', address: 'one@example.org' })
    expect((await addresses.of(alice)).map(({ address }) => address)).toContain('one@example.org')
    await addresses.deleteAll(alice)
    expect(await addresses.of(alice)).toEqual([])
  })

  it('confirms an interactive authentication, of which its session is known later', async () => {
    const { credentials, token } = await ask('register', 'stage@example.org')
    await addresses.confirm(credentials, 'uia')
    expect(await addresses.confirmedBy('uia')).toBeUndefined()
    await addresses.submitToken(credentials, token)
    expect(await addresses.confirmedBy('uia')).toMatchObject({ address: 'stage@example.org' })
    expect(await addresses.confirmedBy('another')).toBeUndefined()
  })

  it('is forgotten where it was bound', async () => {
    const session = { sid: 's', clientSecret: 'c', server: idServer, accessToken: 't' }
    const bound = { medium: 'email', address: 'alice@bound.test' }
    expect(await addresses.unbind(alice, bound)).toBe(false)
    await addresses.bind(alice, session)
    forgets = false
    expect(await addresses.delete(alice, bound)).toBe(false)
    forgets = true
    expect(await addresses.unbind(alice, bound)).toBe(true)
    expect(await addresses.unbind(alice, bound)).toBe(false)
    expect(unbound).toEqual(Array(2).fill('alice@bound.test at id.test'))
  })

  it.each([
    '',
    'x',
    'a@b@c',
    'a@b..c',
    'a\0@b.c',
    'a b@c.org',
    'a@b.org\r\nBcc: c@d.org',
    '<a@b.org>',
    'a@-b.org',
  ])('is not %j', (email) => expect(() => cleanAddress(email)).toThrow(/email/))

  it('belongs to nobody when no database can hold it', async () => {
    for (const address of ['a\0@b.org', '\ud800@b.org']) {
      expect(await addresses.ownerOf({ medium: 'email', address })).toBeUndefined()
      expect(await addresses.delete(alice, { medium: 'email', address })).toBe(false)
    }
  })

  it('is read at once, whatever it is', () => {
    const before = performance.now()
    for (const end of ['!', '-', 'a']) {
      const email = `a@${'a'.repeat(300)}${end}`
      expect(() => cleanAddress(email)).toThrow(/email/)
    }
    expect(() => cleanAddress(`a@${'a-'.repeat(26)}!`)).toThrow(/email/)
    expect(performance.now() - before).toBeLessThan(1_000)
  })

  it.each(['a@localhost', 'a.b+c@mail.example.org', 'jörg@bücher.example', 'a@b.org.'])(
    'may be %s',
    (email) => expect(cleanAddress(email)).toBe(email),
  )
})
