import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { gzipSync } from 'node:zlib'
import { afterAll, describe, expect, it } from 'vitest'
import { addressCheck, createGuardedDispatcher } from './guarded-dispatcher.ts'
import { guardedGet, guardedRequest } from './guarded-request.ts'

describe('which addresses may be connected to', () => {
  const isAllowed = addressCheck(['10.1.0.0/16', 'fd00::/8'])

  it.each(['8.8.8.8', '2606:4700::1111', '10.1.2.3', 'fd12::1', '::ffff:8.8.8.8'])(
    'lets %s through',
    (address) => expect(isAllowed(address)).toBe(true),
  )

  it.each([
    '127.0.0.1',
    '10.2.0.1',
    '192.168.1.1',
    '169.254.169.254',
    '100.64.0.1',
    '0.0.0.0',
    '255.255.255.255',
    '224.0.0.1',
    '::1',
    '::',
    'fe80::1',
    '::ffff:127.0.0.1',
    '64:ff9b::7f00:1',
    '2002:7f00:1::',
    'not an address',
  ])('refuses %s', (address) => expect(isAllowed(address)).toBe(false))
})

describe('a request through the guard', async () => {
  const server = http.createServer((req, res) => {
    if (req.url === '/big') res.end('x'.repeat(10_000))
    else if (req.url === '/bomb') {
      res.setHeader('content-encoding', 'gzip')
      res.end(gzipSync('x'.repeat(1_000_000)))
    } else if (req.url === '/small-gzip') {
      res.setHeader('content-encoding', 'gzip')
      res.end(gzipSync('hello'))
    } else if (req.url === '/silent') return
    else if (req.url === '/drip') {
      const drop = setInterval(() => res.write('x'), 20)
      res.on('close', () => clearInterval(drop))
    } else if (req.url === '/away') res.writeHead(302, { location: 'http://127.0.0.1/' }).end()
    else res.end('hello')
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const open = createGuardedDispatcher({ allowedNetworks: ['127.0.0.0/8'] })
  const closed = createGuardedDispatcher({ allowedNetworks: [] })
  afterAll(async () => {
    await open[Symbol.asyncDispose]()
    await closed[Symbol.asyncDispose]()
    server.closeAllConnections()
    server.close()
  })
  const asked = (path: string, host = '127.0.0.1') => ({
    method: 'GET' as const,
    url: new URL(`http://${host}:${port}${path}`),
    timeoutMs: 2_000,
    replyBytesMax: 5_000,
  })

  it('reaches an allowed address', async () => {
    const reply = await guardedRequest(open.agent, asked('/'))
    expect([reply.status, reply.body.toString()]).toEqual([200, 'hello'])
  })

  it.each(['127.0.0.1', 'localhost', '[::ffff:127.0.0.1]'])(
    'never connects to %s when that is not allowed',
    async (host) => {
      await expect(guardedRequest(closed.agent, asked('/', host))).rejects.toMatchObject({
        code: 'FORBIDDEN_ADDRESS',
      })
    },
  )

  it('stops reading an answer that is too large, also when it becomes so by inflation', async () => {
    await expect(guardedRequest(open.agent, asked('/big'))).rejects.toMatchObject({
      code: 'REPLY_TOO_LARGE',
    })
    await expect(guardedRequest(open.agent, asked('/bomb'))).rejects.toMatchObject({
      code: 'REPLY_TOO_LARGE',
    })
    const small = await guardedRequest(open.agent, asked('/small-gzip'))
    expect(small.body.toString()).toBe('hello')
  })

  it.each(['/silent', '/drip'])('gives up on a server that takes for ever: %s', async (path) => {
    await expect(
      guardedRequest(open.agent, { ...asked(path), timeoutMs: 200 }),
    ).rejects.toMatchObject({ name: 'TimeoutError' })
  })

  it('follows no redirect away from https', async () => {
    await expect(guardedGet(open.agent, { ...asked('/away'), redirectsMax: 3 })).rejects.toThrow(
      'away from https',
    )
  })
})
