import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { parseServerName } from '../../spec/ids.ts'
import { type TestDatabase, testDatabase } from '../database/test-database.ts'
import { systemRandom } from '../platform/random.ts'
import { openInstance } from './instance.ts'
import { checkSharedFolder } from './shared-folder.ts'
import { makeSigningKey, parseSigningKey } from './signing-keys.ts'

let test: TestDatabase
let dir: string
beforeEach(async () => {
  test = await testDatabase()
  dir = mkdtempSync(join(tmpdir(), 'folkmoot-instance-'))
})
afterEach(async () => {
  await test[Symbol.asyncDispose]()
  rmSync(dir, { recursive: true })
})

function open(
  options: { name?: string; filesDir?: string | undefined; signingKeyFile?: string } = {},
) {
  return openInstance({
    db: test.db,
    random: systemRandom,
    serverName: parseServerName(options.name ?? 'example.org'),
    filesDir: options.filesDir,
    signingKeyFile: options.signingKeyFile ?? '',
  })
}

describe('an instance with a database of its operator', () => {
  it('makes key and secret once, the same for processes that start together', async () => {
    const [a, b] = await Promise.all([open(), open()])
    const c = await open()
    expect(new Set([a, b, c].map(({ signingKey }) => signingKey.publicKey)).size).toBe(1)
    expect(new Set([a, b, c].map((one) => one.secretFor('x'))).size).toBe(1)
    expect(a.secretFor('x')).not.toBe(a.secretFor('y'))
    expect([a.isNew, c.isNew]).toEqual([true, false])
  })

  it('refuses another server name and says which', async () => {
    await open()
    await expect(open({ name: 'other.org' })).rejects.toThrow(/other\.org.*belongs to example\.org/)
  })

  it('takes the operator’s key file and refuses another one, or none', async () => {
    const mine = join(dir, 'mine.key')
    const other = join(dir, 'other.key')
    writeFileSync(mine, `${makeSigningKey(systemRandom).text}\n`)
    writeFileSync(other, makeSigningKey(systemRandom).text)
    const instance = await open({ signingKeyFile: mine })
    const wrong = open({ signingKeyFile: other })
    await expect(wrong).rejects.toThrow(instance.signingKey.publicKey)
    await expect(open()).rejects.toThrow('set SIGNING_KEY_FILE')
    await expect(open({ signingKeyFile: join(dir, 'none') })).rejects.toThrow('is missing')
  })
})

describe('an instance with the embedded database', () => {
  it('keeps key and secret in files that only their owner reads', async () => {
    const first = await open({ filesDir: dir })
    for (const name of ['signing.key', 'instance.secret']) {
      expect(statSync(join(dir, name)).mode & 0o777).toBe(0o600)
    }
    const rows = await test.db`select value from instance_secrets`
    const secret = readFileSync(join(dir, 'instance.secret'), 'utf8').trim()
    expect(JSON.stringify(rows)).not.toContain(secret)
    const second = await open({ filesDir: dir })
    expect(second.signingKey.publicKey).toBe(first.signingKey.publicKey)
    expect(second.secretFor('x')).toBe(first.secretFor('x'))
  })

  it('refuses another key, another secret and missing files, and makes nothing new', async () => {
    await open({ filesDir: dir })
    const key = join(dir, 'signing.key')
    const original = readFileSync(key, 'utf8')
    rmSync(key)
    await expect(open({ filesDir: dir })).rejects.toThrow(/signing\.key is missing/)
    expect(existsSync(key)).toBe(false)
    writeFileSync(key, makeSigningKey(systemRandom).text)
    await expect(open({ filesDir: dir })).rejects.toThrow(/signing\.key is ed25519:.*belongs to/)
    writeFileSync(key, original)
    writeFileSync(join(dir, 'instance.secret'), 'f'.repeat(64))
    await expect(open({ filesDir: dir })).rejects.toThrow(/instance\.secret is not the one/)
  })
})

describe('the folder for uploaded files', () => {
  it('must be the one that the first process of the instance used', async () => {
    const check = (name: string) => checkSharedFolder(test.db, systemRandom, join(dir, name))
    await check('media')
    await check('media')
    await expect(check('elsewhere')).rejects.toThrow(/media_dir = .*elsewhere is not the folder/)
    await expect(check('elsewhere')).rejects.toThrow('MEDIA_DIR')
  })
})

describe('a signing key', () => {
  it('is read in Synapse’s format', () => {
    const seed = 'YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1'
    const { key } = parseSigningKey(`ed25519 1 ${seed}\n`)
    // The key of the specification's signing examples.
    expect(key.keyId).toBe('ed25519:1')
    expect(key.publicKey).toBe('XGX0JRS2Af3be3knz2fBiRbApjm2Dh61gXDJA8kcJNI')
  })

  it('is refused in any other form, without being shown', () => {
    for (const text of ['', 'rsa a_1 abc', 'ed25519 a_1 short']) {
      expect(() => parseSigningKey(text)).toThrow('one line')
      if (text !== '') expect(() => parseSigningKey(text)).not.toThrow(text)
    }
  })
})
