import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { ConfigError, loadConfig } from './config.ts'

function file(text: string): string {
  const path = join(mkdtempSync(join(tmpdir(), 'folkmoot-config-')), 'folkmoot.yaml')
  writeFileSync(path, text)
  return path
}

function problems(env: Record<string, string>): string[] {
  try {
    loadConfig(env)
  } catch (error) {
    if (error instanceof ConfigError) return error.message.split('\n')
    throw error
  }
  return []
}

describe('settings', () => {
  it('have a default, and each a sentence, a bound and an origin', () => {
    const { config, report } = loadConfig({})
    expect(config.serverName).toBe('localhost:8448')
    expect(Object.isFrozen(config)).toBe(true)
    for (const setting of report) {
      expect(setting.origin).toBe('default')
      expect(setting.sentence).toMatch(/\.$/)
      expect(setting.allowed).not.toBe('')
      expect(setting.allowed).not.toContain('undefined')
    }
  })

  it('come from the file and are overridden by the environment', () => {
    const path = file('server_name: example.org\nclient_port: 9000\nguests: true\n')
    const { config, report } = loadConfig({ CONFIG_FILE: path, CLIENT_PORT: '9001' })
    expect(config).toMatchObject({ serverName: 'example.org', clientPort: 9001, guests: true })
    const origins = Object.fromEntries(report.map(({ name, origin }) => [name, origin]))
    expect(origins).toMatchObject({
      server_name: path,
      client_port: 'CLIENT_PORT',
      workers: 'default',
    })
  })

  it('name notaries and keys of before, each in its form', () => {
    const line = `ed25519:a_old ${'A'.repeat(43)} 1600000000000`
    const { config } = loadConfig({
      FEDERATION_NOTARIES: 'a.example,b.example',
      OLD_VERIFY_KEYS: line,
    })
    expect(config).toMatchObject({
      federationNotaries: ['a.example', 'b.example'],
      oldVerifyKeys: [line],
    })
    expect(() => loadConfig({ FEDERATION_NOTARIES: 'not a name' })).toThrow('federation_notaries')
    expect(() => loadConfig({ OLD_VERIFY_KEYS: 'ed25519:a_old short 1' })).toThrow(
      'old_verify_keys',
    )
  })

  it('are read from text in the environment', () => {
    const { config } = loadConfig({
      RATE_LIMITS: 'off',
      FEDERATION_ALLOW_PRIVATE: '127.0.0.0/8, ::1/128',
      FOLKMOOT_WORKERS: '2',
    })
    expect(config).toMatchObject({
      rateLimits: false,
      federationAllowPrivate: ['127.0.0.0/8', '::1/128'],
      workers: 2,
    })
  })

  it('keep secrets out of the report, and take them from a file', () => {
    const path = file('postgres://u:hush@h/db\n')
    const { config, report } = loadConfig({ DATABASE_URL_FILE: path })
    expect(config.databaseUrl).toBe('postgres://u:hush@h/db')
    expect(JSON.stringify(report)).not.toContain('hush')
  })
})

describe('a wrong setting', () => {
  it('is named with its value and what is allowed, all of them at once', () => {
    const found = problems({ CLIENT_PORT: '99999', REGISTRATION: 'maybe', SERVER_NAME: 'a b' })
    expect(found).toEqual([
      'server_name = "a b" (SERVER_NAME): allowed is a host name with an optional port, such as example.org',
      'client_port = 99999 (CLIENT_PORT): allowed is a whole number from 0 to 65535',
      'registration = "maybe" (REGISTRATION): allowed is closed, open, token',
    ])
  })

  it('is refused when its name is unknown, with the nearest name', () => {
    const path = file('servr_name: example.org\n')
    expect(problems({ CONFIG_FILE: path })).toEqual([
      `servr_name = "example.org" (${path}): there is no such setting, did you mean server_name?`,
    ])
    expect(problems({ FOLKMOOT_SERVER_NAM: 'x' })[0]).toContain(
      'did you mean FOLKMOOT_SERVER_NAME?',
    )
  })

  it('never shows a secret', () => {
    const found = problems({ CONFIG_FILE: file('database_url: [hush]\n') })
    expect(found).toHaveLength(1)
    expect(found[0]).not.toContain('hush')
  })

  it('is a file that cannot be read or is no list of settings', () => {
    expect(problems({ CONFIG_FILE: '/nonexistent.yaml' })[0]).toContain('/nonexistent.yaml')
    expect(problems({ CONFIG_FILE: file('- a\n- b\n') })[0]).toContain('allowed is')
    expect(problems({ CONFIG_FILE: file('a: [\n') })[0]).toContain('CONFIG_FILE')
  })
})
