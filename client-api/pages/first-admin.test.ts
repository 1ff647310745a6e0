import { createServer as createHttpServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import Router from '@koa/router'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Registration } from '../../homeserver/accounts/accounts.ts'
import { silentLogger } from '../../homeserver/platform/log.ts'
import { MatrixError } from '../../spec/errors.ts'
import { makeUserId, parseServerName } from '../../spec/ids.ts'
import { createServer } from '../server.ts'
import { firstAdminPath, mountFirstAdmin } from './first-admin.ts'

const serverName = parseServerName('example.org')
const invites = new Set(['good', 'other'])
const registered: Registration[] = []

const router = new Router()
mountFirstAdmin(router, {
  serverName,
  baseUrlOf: () => 'https://matrix.example.org',
  accounts: {
    checkAdminInvite: async (token) => invites.has(token),
    takeAdminInvite: async (token) => invites.delete(token),
    checkAvailable: async (name) => {
      if (name === 'taken') throw new MatrixError('M_USER_IN_USE', 'taken')
    },
    register: async (registration) => {
      registered.push(registration)
      return makeUserId(registration.localpart ?? '', serverName)
    },
  },
})
const listener = createServer({
  log: silentLogger,
  pages: async () => router,
  dispatch: async () => false,
})
const server = createHttpServer(listener)
let url = ''

beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address: string | AddressInfo | null = server.address()
  url = typeof address === 'object' ? `http://127.0.0.1:${address?.port}` : ''
})
afterAll(() => void server.close())

async function ask(token: string, fields?: Record<string, string>) {
  const init = fields === undefined ? {} : { method: 'POST', body: new URLSearchParams(fields) }
  const answer = await fetch(url + firstAdminPath(token), init)
  return { status: answer.status, headers: answer.headers, text: await answer.text() }
}

const password = 'correct horse'

describe('the page of the first administrator', () => {
  it('shows a form that no script and no other site can touch', async () => {
    const { status, text, headers } = await ask('good')
    expect(status).toBe(200)
    expect(text).toContain('<form method="post">')
    expect(headers.get('content-security-policy')).toMatch(
      /default-src 'none'.*frame-ancestors 'none'/,
    )
    expect(headers.get('referrer-policy')).toBe('no-referrer')
    expect(headers.get('cache-control')).toBe('no-store')
  })
  it('says what is wrong, keeps the name and shows it escaped', async () => {
    const { status, text } = await ask('good', {
      username: '"><b>x',
      password,
      again: 'other words',
    })
    expect(status).toBe(422)
    expect(text).toContain('not the same')
    expect(text).not.toContain('<b>x')
    expect((await ask('good', { username: 'taken', password, again: password })).text).toContain(
      'is taken',
    )
    expect(
      (await ask('good', { username: 'a', password: 'short', again: 'short' })).text,
    ).toContain('at least 10')
    expect((await ask('good', { username: 'a' })).status).toBe(422)
    expect(registered).toEqual([])
  })
  it('makes one administrator, once', async () => {
    const done = await ask('good', { username: ' Root ', password, again: password })
    expect(done.status).toBe(201)
    expect(done.text).toContain('@root:example.org')
    expect(done.text).toContain('https://matrix.example.org')
    expect(registered).toEqual([{ localpart: 'root', password, admin: true }])
    expect((await ask('good', { username: 'eve', password, again: password })).status).toBe(410)
    expect((await ask('good')).status).toBe(410)
  })
  it('refuses a form that is too large', async () => {
    expect((await ask('other', { username: 'x'.repeat(20_000) })).status).toBe(400)
  })
})
