import { createServer, type Server } from 'node:http'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  createGuardedDispatcher,
  type GuardedDispatcher,
} from '../homeserver/platform/guarded-dispatcher.ts'
import { createPushGateways } from './push-gateways.ts'

const path = '/_matrix/push/v1/notify'
const loopback = ['127.0.0.0/8']
let server: Server
let base: string
let dispatcher: GuardedDispatcher
let asked: { url: string | undefined; body: unknown }[]
let reply: { status: number; headers?: Record<string, string>; body: string }

beforeEach(async () => {
  asked = []
  reply = { status: 200, body: '{"rejected":["gone"]}' }
  dispatcher = createGuardedDispatcher({ allowedNetworks: [] })
  server = createServer(async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(Buffer.from(chunk))
    asked.push({ url: request.url, body: JSON.parse(Buffer.concat(chunks).toString()) })
    response.writeHead(reply.status, reply.headers)
    response.end(reply.body)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  base = typeof address === 'object' && address !== null ? `http://127.0.0.1:${address.port}` : ''
})
afterEach(async () => {
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
  await dispatcher[Symbol.asyncDispose]()
})

const gateways = (allowedNetworks: readonly string[]) =>
  createPushGateways({ dispatcher, allowedNetworks })

describe('the address of a push gateway', () => {
  it.each([
    ['https://push.example.org/_matrix/push/v1/notify', true],
    ['https://push.example.org:8443/_matrix/push/v1/notify?x=1', true],
    ['http://push.example.org/_matrix/push/v1/notify', false],
    ['https://push.example.org/notify', false],
    ['https://user:secret@push.example.org/_matrix/push/v1/notify', false],
    ['ftp://push.example.org/_matrix/push/v1/notify', false],
    ['push.example.org/_matrix/push/v1/notify', false],
    [`https://push.example.org/_matrix/push/v1/notify?${'x'.repeat(3_000)}`, false],
  ])('%s: %s', async (url, isGood) => {
    await using strict = gateways([])
    expect(strict.accepts(url)).toBe(isGood)
  })

  it('may be plain HTTP where private networks are allowed', async () => {
    await using open = gateways(loopback)
    expect(open.accepts(`http://127.0.0.1:1${path}`)).toBe(true)
  })
})

describe('a push gateway', () => {
  it('is told, and says which keys are no longer valid', async () => {
    await using open = gateways(loopback)
    expect(await open.notify(base + path, { devices: [] })).toEqual(['gone'])
    expect(asked).toEqual([{ url: path, body: { notification: { devices: [] } } }])
  })

  it.each([
    ['nothing', ''],
    ['no JSON', 'thanks'],
    ['something else', '{"rejected":7}'],
  ])('has taken the notification also when it answers %s', async (_, body) => {
    reply = { status: 200, body }
    await using open = gateways(loopback)
    expect(await open.notify(base + path, {})).toEqual([])
  })

  it.each([400, 404, 500, 503])('has not taken it when it answers %i', async (status) => {
    reply = { status, body: '{"rejected":["gone"]}' }
    await using open = gateways(loopback)
    await expect(open.notify(base + path, {})).rejects.toThrow(`status ${status}`)
  })

  it('cannot send us elsewhere, or answer without end', async () => {
    await using open = gateways(loopback)
    reply = { status: 307, headers: { location: `${base}/other` }, body: '' }
    await expect(open.notify(base + path, {})).rejects.toThrow('status 307')
    reply = { status: 200, body: ' '.repeat(100_000) }
    await expect(open.notify(base + path, {})).rejects.toThrow('larger than')
    expect(asked.map(({ url }) => url)).toEqual([path, path])
  })

  it('is not on a private network unless that is allowed, nor plain HTTP on a public one', async () => {
    await using strict = gateways([])
    await expect(strict.notify(base + path, {})).rejects.toThrow('127.0.0.1')
    await using open = gateways(['10.0.0.0/8'])
    await expect(open.notify(`http://8.8.8.8${path}`, {})).rejects.toThrow('8.8.8.8')
    expect(asked).toEqual([])
  })
})
