import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { parseRoomAlias, parseServerName, parseUserId } from '../../spec/ids.ts'
import { loadAppservices } from './appservices.ts'

const serverName = parseServerName('here.test')

const irc = `id: irc
url: "http://127.0.0.1:1234"
as_token: secret-of-the-service
hs_token: secret-of-the-server
sender_localpart: _irc_bot
rate_limited: false
namespaces:
  users:
    - { exclusive: true, regex: "@_irc_.*" }
    - { exclusive: false, regex: "@shared_.*" }
  aliases:
    - { exclusive: true, regex: "#_irc_.*" }
  rooms: []
`

describe('the registrations of application services', () => {
  let dir = ''
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'appservices-'))
  })
  afterEach(() => rmSync(dir, { recursive: true }))

  function load(...texts: readonly string[]) {
    const files = texts.map((text, n) => {
      const path = join(dir, `${n}.yaml`)
      writeFileSync(path, text)
      return path
    })
    return loadAppservices({ files, serverName })
  }

  it('tells which service a token speaks for', () => {
    const services = load(irc)
    expect(services.byToken('secret-of-the-service')).toMatchObject({
      id: 'irc',
      sender: '@_irc_bot:here.test',
      rateLimited: false,
    })
    expect(services.byToken('secret-of-the-server')).toBeUndefined()
    expect(services.byId('irc')).toBe(services.byToken('secret-of-the-service'))
  })

  it('covers its sender and the local users of its namespaces', () => {
    const service = load(irc).byId('irc')
    const covered = ['@_irc_bot', '@_irc_alice', '@shared_bob', '@carol', '@not_irc_dave'].filter(
      (name) => service?.covers(parseUserId(`${name}:here.test`)),
    )
    expect(covered).toEqual(['@_irc_bot', '@_irc_alice', '@shared_bob'])
    expect(service?.covers(parseUserId('@_irc_alice:elsewhere.test'))).toBe(false)
  })

  it('keeps what is exclusive from others', () => {
    const services = load(irc)
    expect(services.exclusiveOwner(parseUserId('@_irc_alice:here.test'))).toBe('irc')
    expect(services.exclusiveOwner(parseUserId('@_irc_bot:here.test'))).toBe('irc')
    expect(services.exclusiveOwner(parseUserId('@shared_bob:here.test'))).toBeUndefined()
    expect(services.exclusiveAliasOwner(parseRoomAlias('#_irc_matrix:here.test'))).toBe('irc')
    expect(services.exclusiveAliasOwner(parseRoomAlias('#lounge:here.test'))).toBeUndefined()
  })

  it('names the file and the field that is wrong', () => {
    expect(() => load(irc.replace('sender_localpart: _irc_bot', ''))).toThrow(
      /0\.yaml: sender_localpart/,
    )
    expect(() => load(irc.replace('@_irc_.*', '@_irc_('))).toThrow(/no regular expression/)
    expect(() => load('- a list')).toThrow(/0\.yaml/)
    expect(() => loadAppservices({ files: [join(dir, 'none.yaml')], serverName })).toThrow(
      /none\.yaml: ENOENT/,
    )
  })

  it('refuses two services with the same id or token', () => {
    expect(() => load(irc, irc)).toThrow(/the same id/)
    expect(() => load(irc, irc.replace('id: irc', 'id: other'))).toThrow(/the same as_token/)
  })
})
