/** A day of two people who use matrix-nio: encryption, replies, edits, reactions, threads, receipts, typing, history. */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { password, register } from '../harness/client.ts'
import { type Federation, startFederation } from '../harness/pair.ts'
import { launcherUnderTest } from '../harness/settings.ts'

const dayTimeoutMs = 180_000
const cache = process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache')
const python = process.env['NIO_PYTHON'] ?? join(cache, 'folkmoot/nio-venv/bin/python')
const hasNio = existsSync(python)
if (!hasNio) {
  process.stderr.write(
    'NOT RUN: a day with matrix-nio, because it is not on this machine (NIO_PYTHON)\n',
  )
}

describe.skipIf(!hasNio)('people with matrix-nio', () => {
  let federation: Federation | undefined
  beforeAll(async () => {
    const member = { launcher: launcherUnderTest }
    federation = await startFederation([member, member])
  })
  afterAll(() => federation?.[Symbol.asyncDispose]())

  it(
    'have a day over two servers',
    async () => {
      const [home, away] = federation?.servers ?? []
      if (!home || !away) throw new Error('two servers')
      const [alice, bob] = await Promise.all([register(home, 'alice'), register(away, 'bob')])
      const script = join(import.meta.dirname, 'nio-day.py')
      const people = [home.clientUrl, alice.userId, away.clientUrl, bob.userId]
      const { stdout } = await promisify(execFile)(python, [script, ...people, password], {
        timeout: dayTimeoutMs,
      })
      expect(JSON.parse(stdout)).toEqual({
        whispers: {
          bob: { body: 'for bob only', decrypted: true },
          alice: { body: 'for alice only', decrypted: true },
        },
        conversation: {
          ...{ reply: true, reaction: '👍', thread: 'm.thread', edit: 'm.replace' },
          scrolled: true,
        },
        'signed out': 'WhoamiError',
      })
    },
    dayTimeoutMs,
  )
})
