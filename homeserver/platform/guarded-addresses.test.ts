import https from 'node:https'
import type { AddressInfo } from 'node:net'
import { afterAll, describe, expect, it } from 'vitest'
import { createAuthority } from '../../conformance-tests/harness/certificates.ts'
import { createGuardedDispatcher, type Lookup } from './guarded-dispatcher.ts'
import { guardedGet, guardedRequest } from './guarded-request.ts'

/** Ways to write an address that nobody outside may be able to send us to. */
const hosts = [
  // This machine, in all the forms that a URL or a resolver takes.
  ...['127.0.0.1', '127.0.0.2', '127.255.255.254', '127.1', '127.0.1', '0', '0.0.0.0', '0.1.2.3'],
  ...['2130706433', '0x7f000001', '0x7f.1', '0177.0.0.1', '017700000001', '0x7f.0x0.0x0.0x1'],
  ...['127.0.0.1.', 'localhost', 'LOCALHOST', '①②⑦.⓪.⓪.①', '127。0。0。1', '%31%32%37.0.0.1'],
  // Private and link-local networks, metadata services, carriers, tests, multicast, broadcast.
  ...['10.0.0.1', '10.255.255.255', '172.16.0.1', '172.31.255.255', '192.168.0.1', '192.168.1.1'],
  ...['169.254.169.254', '2852039166', '0xa9fea9fe', '100.64.0.1', '100.127.255.255', '192.0.0.1'],
  ...['192.0.2.1', '198.18.0.1', '198.51.100.1', '203.0.113.1', '224.0.0.1', '239.255.255.255'],
  ...['240.0.0.1', '255.255.255.255', '192.88.99.1'],
  // The same in IPv6, alone, mapped, compatible, translated and tunnelled.
  ...['[::]', '[::1]', '[0:0:0:0:0:0:0:1]', '[::ffff:127.0.0.1]', '[::ffff:7f00:1]', '[::7f00:1]'],
  ...['[::127.0.0.1]', '[::ffff:10.0.0.1]', '[::ffff:169.254.169.254]', '[::ffff:0:127.0.0.1]'],
  ...['[64:ff9b::127.0.0.1]', '[64:ff9b::a9fe:a9fe]', '[64:ff9b:1::7f00:1]', '[2002:7f00:1::]'],
  ...['[2002:a00:1::1]', '[2001:0:7f00:1::]', '[fe80::1]', '[fec0::1]', '[fc00::1]', '[fd12::1]'],
  ...['[ff02::1]', '[100::1]', '[2001:db8::1]', '[3fff::1]', '[5f00::1]', '[4000::1]'],
]

const asked = (url: string) => ({
  ...{ method: 'GET' as const, url: new URL(url) },
  ...{ timeoutMs: 2_000, replyBytesMax: 5_000 },
})
const refused = { code: 'FORBIDDEN_ADDRESS' }

/** A resolver that answers each question with the next of its lists, the last one again and again. */
function resolver(...answers: string[][]): Lookup {
  return (_hostname, _options, callback) => {
    const addresses = (answers.length > 1 ? answers.shift() : answers[0]) ?? []
    const family = (address: string) => (address.includes(':') ? 6 : 4)
    callback(
      null,
      addresses.map((address) => ({ address, family: family(address) })),
    )
  }
}

describe('the way out', () => {
  const guarded = createGuardedDispatcher({ allowedNetworks: [] })
  afterAll(() => guarded[Symbol.asyncDispose]())

  it('knows more than sixty forms', () => expect(new Set(hosts).size).toBeGreaterThan(60))

  it.each(hosts)('never leads to %s', async (host) => {
    await expect(
      guardedRequest(guarded.agent, asked(`https://${host}:8448/`)),
    ).rejects.toMatchObject(refused)
  })

  it.each(['127.0.0.1', '169.254.169.254', '[::1]', '::1', '[::ffff:10.0.0.1]', 'localhost'])(
    'never leads to %s by an SRV record',
    async (host) => {
      guarded.redirect('a.example:8448', { host, port: 8448 })
      await expect(
        guardedRequest(guarded.agent, asked('https://a.example:8448/')),
      ).rejects.toMatchObject(refused)
    },
  )

  it.each([[['10.0.0.1']], [['fd00::1', '127.0.0.1']], [['::ffff:192.168.0.1']]])(
    'never leads where a public name says: %s',
    async (addresses) => {
      const lookup = resolver(addresses)
      await using one = createGuardedDispatcher({ allowedNetworks: [], lookup })
      await expect(
        guardedRequest(one.agent, asked('https://a.example:8448/')),
      ).rejects.toMatchObject(refused)
    },
  )
})

describe('the way out through a server that misleads', async () => {
  const authority = createAuthority()
  const seen: string[] = []
  const server = https.createServer(authority.issue(['a.example', '127.0.0.2']), (req, res) => {
    seen.push(req.url ?? '')
    const location = decodeURIComponent(req.url?.slice(1) ?? '')
    if (location === 'end') res.end('here')
    else res.writeHead(302, { location }).end()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.2', resolve))
  const { port } = server.address() as AddressInfo
  const guarded = (...answers: string[][]) =>
    createGuardedDispatcher({
      allowedNetworks: ['127.0.0.2/32'],
      authorities: [authority.cert],
      lookup: resolver(...answers),
    })
  const via = (location: string) =>
    `https://a.example:${port}/${location === '' ? '' : encodeURIComponent(location)}`
  afterAll(() => {
    server.closeAllConnections()
    server.close()
  })

  it.each(['https://127.0.0.1/', 'https://169.254.169.254/latest', 'https://[::1]/', 'https://0/'])(
    'follows no redirect to %s',
    async (location) => {
      await using one = guarded(['127.0.0.2'])
      await expect(
        guardedGet(one.agent, { ...asked(via(location)), redirectsMax: 5 }),
      ).rejects.toMatchObject(refused)
    },
  )

  it('follows so many redirects and no more, and none to another scheme', async () => {
    await using one = guarded(['127.0.0.2'])
    const twice = via(via(via('end')))
    const get = (url: string, redirectsMax: number) =>
      guardedGet(one.agent, { ...asked(url), redirectsMax })
    expect((await get(twice, 2)).body.toString()).toBe('here')
    await expect(get(twice, 1)).rejects.toThrow('too many redirects')
    await expect(get(via('file:///etc/passwd'), 5)).rejects.toThrow('away from https')
    await expect(get(via(`http://a.example:${port}/end`), 5)).rejects.toThrow('away from https')
  })

  it('gives up on a server that leads in a circle', async () => {
    await using one = guarded(['127.0.0.2'])
    const before = seen.length
    // It redirects to the address of the answer that redirects.
    const circle = async () => {
      const url = `https://a.example:${port}/${encodeURIComponent('?')}`
      return await guardedGet(one.agent, { ...asked(url), redirectsMax: 5 })
    }
    await expect(circle()).rejects.toThrow('too many redirects')
    expect(seen.length - before).toBe(6)
  })

  it('is not led astray when a name’s address changes between two questions', async () => {
    await using one = guarded(['127.0.0.2'], ['10.0.0.1'])
    const get = () =>
      guardedRequest(one.agent, { ...asked(via('end')), headers: { connection: 'close' } })
    expect((await get()).body.toString()).toBe('here')
    await expect(get()).rejects.toMatchObject(refused)
  })
})
