import { describe, expect, it, vi } from 'vitest'
import { FakeClock } from '../homeserver/platform/fake-clock.ts'
import { parseServerName } from '../spec/ids.ts'
import { createDiscovery, type SrvRecord } from './discovery.ts'

interface Net {
  readonly wellKnown?: Readonly<Record<string, object | number>>
  readonly srv?: Readonly<Record<string, readonly SrvRecord[]>>
  readonly cacheControl?: string
}

function discovery({ wellKnown = {}, srv = {}, cacheControl }: Net) {
  const clock = new FakeClock()
  const redirect = vi.fn()
  const fetchWellKnown = vi.fn(async (host: string) => {
    const answer = wellKnown[host]
    if (answer === undefined) throw new Error('connection refused')
    const body =
      typeof answer === 'number' ? '{"m.server":"wrong.example"}' : JSON.stringify(answer)
    return {
      status: typeof answer === 'number' ? answer : 200,
      header: () => cacheControl,
      body: Buffer.from(body),
    }
  })
  const resolveSrv = vi.fn(async (name: string) => srv[name] ?? [])
  const found = createDiscovery({ clock, redirect, fetchWellKnown, resolveSrv })
  const route = (name: string) => found.route(parseServerName(name))
  return { clock, redirect, fetchWellKnown, resolveSrv, route, failed: found.failed }
}

const record = (name: string, port: number, priority = 0): SrvRecord => ({
  name,
  port,
  priority,
  weight: 0,
})

describe('resolving server names', () => {
  it('goes to an IP literal at its port, or at 8448', async () => {
    const { route, fetchWellKnown } = discovery({})
    expect(await route('192.0.2.1')).toEqual({
      origin: 'https://192.0.2.1:8448',
      host: '192.0.2.1',
    })
    expect(await route('[2001:db8::1]:99')).toEqual({
      origin: 'https://[2001:db8::1]:99',
      host: '[2001:db8::1]:99',
    })
    expect(fetchWellKnown).not.toHaveBeenCalled()
  })

  it('goes to an explicit port without asking for a delegation', async () => {
    const { route, fetchWellKnown } = discovery({})
    expect(await route('a.example:1234')).toEqual({
      origin: 'https://a.example:1234',
      host: 'a.example:1234',
    })
    expect(fetchWellKnown).not.toHaveBeenCalled()
  })

  it('follows a delegation to a name with a port, and sends that as Host', async () => {
    const { route } = discovery({ wellKnown: { 'a.example': { 'm.server': 'b.example:443' } } })
    expect(await route('a.example')).toEqual({
      origin: 'https://b.example:443',
      host: 'b.example:443',
    })
  })

  it('looks for SRV records of a delegated name without a port', async () => {
    const { route, redirect } = discovery({
      wellKnown: { 'a.example': { 'm.server': 'b.example' } },
      srv: { '_matrix-fed._tcp.b.example': [record('c.example', 4000)] },
    })
    expect(await route('a.example')).toEqual({
      origin: 'https://b.example:4000',
      host: 'b.example',
    })
    expect(redirect).toHaveBeenCalledWith('b.example:4000', { host: 'c.example', port: 4000 })
  })

  it('falls back to the deprecated SRV name, and then to port 8448', async () => {
    const { route } = discovery({ srv: { '_matrix._tcp.a.example': [record('c.example', 4000)] } })
    expect((await route('a.example')).origin).toBe('https://a.example:4000')
    expect(await route('d.example')).toEqual({
      origin: 'https://d.example:8448',
      host: 'd.example',
    })
  })

  it('prefers the SRV record of the lowest priority and takes the next when that failed', async () => {
    const { route, redirect, clock, failed } = discovery({
      srv: {
        '_matrix-fed._tcp.a.example': [record('two.example', 2, 20), record('one.example', 1, 10)],
      },
    })
    expect((await route('a.example')).origin).toBe('https://a.example:1')
    failed(parseServerName('a.example'))
    await clock.advance(10_000)
    expect((await route('a.example')).origin).toBe('https://a.example:2')
    expect(redirect).toHaveBeenLastCalledWith('a.example:2', { host: 'two.example', port: 2 })
  })

  it.each([
    ['a status that is not 200', 404],
    ['a body without m.server', {}],
    ['a server name that is none', { 'm.server': 'https://b.example' }],
  ])('ignores a well-known answer with %s', async (_, answer) => {
    const { route } = discovery({ wellKnown: { 'a.example': answer } })
    expect(await route('a.example')).toEqual({
      origin: 'https://a.example:8448',
      host: 'a.example',
    })
  })

  it('keeps a delegation for as long as its cache headers say, at most two days', async () => {
    const { route, fetchWellKnown, clock } = discovery({
      wellKnown: { 'a.example': { 'm.server': 'b.example:1' } },
      cacheControl: 'public, max-age=999999999',
    })
    await route('a.example')
    await clock.advance(47 * 3_600_000)
    await route('a.example')
    expect(fetchWellKnown).toHaveBeenCalledTimes(1)
    await clock.advance(2 * 3_600_000)
    await route('a.example')
    expect(fetchWellKnown).toHaveBeenCalledTimes(2)
  })

  it('remembers an error for a minute at first, then for longer', async () => {
    const { route, fetchWellKnown, clock } = discovery({})
    const visit = async (afterMs: number) => {
      await clock.advance(afterMs)
      await route('a.example')
      return fetchWellKnown.mock.calls.length
    }
    expect(await visit(0)).toBe(1)
    // The route itself holds five minutes.
    expect(await visit(301_000)).toBe(2)
    for (let n = 0; n < 12; n++) await visit(301_000)
    expect(fetchWellKnown.mock.calls.length).toBeLessThan(9)
  })
})
