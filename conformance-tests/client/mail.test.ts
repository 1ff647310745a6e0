/** Mail needs a mail server, which this file is, and settings that are this server's own. */
import type { AddressInfo } from 'node:net'
import { SMTPServer } from 'smtp-server'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Client, login, password, register, unique } from '../harness/client.ts'
import { ask } from '../harness/http.ts'
import { type Federation, startFederation } from '../harness/pair.ts'
import type { Homeserver } from '../harness/server.ts'
import { launchers, launcherUnderTest, urlUnderTest } from '../harness/settings.ts'

const v3 = '/_matrix/client/v3'
const isOurs = urlUnderTest === undefined && launcherUnderTest === launchers.folkmoot
const mails: { readonly to: string; readonly text: string }[] = []
const base = 'https://chat.example.org'
let smtp: SMTPServer
let federation: Federation
let server: Homeserver

beforeAll(async () => {
  if (!isOurs) return
  smtp = new SMTPServer({
    authOptional: true,
    disabledCommands: ['STARTTLS'],
    onData(stream, session, done) {
      const pieces: Buffer[] = []
      stream.on('data', (piece: Buffer) => pieces.push(piece))
      stream.on('end', () => {
        const text = Buffer.concat(pieces).toString().replaceAll('=\r\n', '').replaceAll('=3D', '=')
        for (const { address } of session.envelope.rcptTo) mails.push({ to: address, text })
        done()
      })
    },
  })
  await new Promise<void>((resolve) => smtp.listen(0, '127.0.0.1', resolve))
  const address: AddressInfo | string | null = smtp.server.address()
  const port = typeof address === 'object' ? address?.port : 0
  const mail = { SMTP_URL: `smtp://127.0.0.1:${port}`, MAIL_FROM: 'server@example.org' }
  const env = { ...mail, PUBLIC_BASE_URL: base }
  federation = await startFederation([{ launcher: launcherUnderTest, env }])
  const [first] = federation.servers
  if (!first) throw new Error('no server')
  server = first
})
afterAll(async () => {
  await federation?.[Symbol.asyncDispose]()
  await new Promise<void>((resolve) => (smtp ? smtp.close(() => resolve()) : resolve()))
})

/** Asks for a mail; answers the credentials, and opens the mail's link as a person does. */
async function prove(where: string, email: string, opens = true) {
  const client_secret = unique('secret')
  const body = { client_secret, email, send_attempt: 1 }
  const asked = await ask(server.clientUrl, 'POST', `${v3}/${where}/email/requestToken`, { body })
  expect(asked.status).toBe(200)
  const mail = mails.findLast(({ to }) => to === email)
  const link = mail && /https:\/\/chat\.example\.org(\/\S+)/.exec(mail.text)?.[1]
  if (opens) {
    const page = await fetch(`${server.clientUrl}${link}`)
    expect([page.status, await page.text()]).toEqual([200, expect.stringContaining('<form')])
    const done = await fetch(`${server.clientUrl}${link}`, { method: 'POST' })
    expect([done.status, await done.text()]).toEqual([200, expect.stringContaining(email)])
  }
  return { creds: { sid: asked.body['sid'], client_secret }, link, text: mail?.text ?? '' }
}

const byMail = (threepid_creds: object, session?: unknown) => ({
  ...{ type: 'm.login.email.identity', threepid_creds },
  ...(session === undefined ? {} : { session }),
})
const newAddress = () => `${unique('someone')}@example.org`

async function addAddress(who: Client, email: string) {
  const { creds } = await prove('account/3pid', email)
  const identifier = { type: 'm.id.user', user: who.userId }
  const auth = { type: 'm.login.password', identifier, password }
  return await who.ask('POST', `${v3}/account/3pid/add`, { body: { ...creds, auth } })
}

const addressesOf = async (who: Client) =>
  (await who.call('GET', `${v3}/account/3pid`))['threepids']

describe.skipIf(!isOurs)('a mail address', () => {
  it('is added when its owner has opened the link', async () => {
    const alice = await register(server)
    const email = newAddress()
    expect((await addAddress(alice, email)).status).toBe(200)
    expect(await addressesOf(alice)).toEqual([
      {
        medium: 'email',
        address: email,
        ...{ validated_at: expect.any(Number), added_at: expect.any(Number) },
      },
    ])
    const removed = await alice.ask('POST', `${v3}/account/3pid/delete`, {
      body: { medium: 'email', address: email },
    })
    expect(removed.body).toEqual({ id_server_unbind_result: 'no-support' })
    expect(await addressesOf(alice)).toEqual([])
  })

  it('is not added before, nor when it is another account’s', async () => {
    const [alice, bob] = [await register(server), await register(server)]
    const email = newAddress()
    const { creds } = await prove('account/3pid', email, false)
    const auth = { type: 'm.login.password', user: alice.userId, password }
    const early = await alice.ask('POST', `${v3}/account/3pid/add`, { body: { ...creds, auth } })
    expect(early).toMatchObject({ status: 400, body: { errcode: 'M_THREEPID_AUTH_FAILED' } })
    expect((await addAddress(alice, email)).status).toBe(200)
    const { link, text } = await prove('account/3pid', email, false)
    expect([link, text]).toEqual([undefined, expect.stringContaining(alice.userId)])
    expect(await addressesOf(bob)).toEqual([])
  })

  it('is given with a registration, and then opens the account', async () => {
    const email = newAddress()
    const { creds } = await prove('register', email)
    const username = unique('mailed')
    const body = { username, password }
    const path = `${v3}/register`
    const first = await ask(server.clientUrl, 'POST', path, { body })
    expect(first.body['flows']).toContainEqual({ stages: ['m.login.email.identity'] })
    const auth = byMail(creds, first.body['session'])
    const made = await ask(server.clientUrl, 'POST', path, { body: { ...body, auth } })
    expect(made.status).toBe(200)
    const identifier = { type: 'm.id.thirdparty', medium: 'email', address: email.toUpperCase() }
    const again = await login(server, username, { identifier })
    expect(again.userId).toBe(made.body['user_id'])
    expect(await addressesOf(again)).toMatchObject([{ address: email }])
  })

  it('gives back an account whose password was forgotten, and ends its sessions', async () => {
    const alice = await register(server)
    const email = newAddress()
    await addAddress(alice, email)
    const { creds } = await prove('account/password', email)
    const body = { new_password: 'another fairly long password', auth: byMail(creds) }
    const path = `${v3}/account/password`
    expect((await ask(server.clientUrl, 'POST', path, { body })).status).toBe(200)
    expect((await alice.ask('GET', `${v3}/account/whoami`)).status).toBe(401)
    const renewed = await login(server, alice.userId, { password: 'another fairly long password' })
    expect(renewed.userId).toBe(alice.userId)
  })

  it('of nobody, or that was proved for something else, gives back nothing', async () => {
    const [email, other] = [newAddress(), newAddress()]
    const { text, link } = await prove('account/password', email, false)
    expect([link, text]).toEqual([undefined, expect.stringContaining('No account')])
    const alice = await register(server)
    await addAddress(alice, other)
    const { creds } = await prove('register', newAddress())
    const body = { new_password: 'another fairly long password', auth: byMail(creds) }
    const refused = await ask(server.clientUrl, 'POST', `${v3}/account/password`, { body })
    expect([refused.status, refused.body['errcode']]).toEqual([401, 'M_UNAUTHORIZED'])
  })

  it('is no number of a telephone', async () => {
    const body = { client_secret: 'secret', send_attempt: 1, country: 'GB', phone_number: '07' }
    const path = `${v3}/account/3pid/msisdn/requestToken`
    const refused = await ask(server.clientUrl, 'POST', path, { body })
    expect(refused).toMatchObject({ status: 403, body: { errcode: 'M_THREEPID_DENIED' } })
  })
})
