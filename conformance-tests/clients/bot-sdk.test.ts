/** A day of a bot that somebody wrote with matrix-bot-sdk, and of who talks with it from another server. */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { register } from '../harness/client.ts'
import { type Federation, startFederation } from '../harness/pair.ts'
import { launcherUnderTest } from '../harness/settings.ts'

const dayTimeoutMs = 180_000
const folder =
  process.env['BOT_SDK'] ?? join(import.meta.dirname, '../../node_modules/matrix-bot-sdk')
const hasBotSdk = existsSync(folder)
if (!hasBotSdk) {
  process.stderr.write(
    'NOT RUN: a day with matrix-bot-sdk, because it is not installed (BOT_SDK names its folder)\n',
  )
}

describe.skipIf(!hasBotSdk)('a bot with matrix-bot-sdk', () => {
  let federation: Federation | undefined
  beforeAll(async () => {
    const member = { launcher: launcherUnderTest }
    federation = await startFederation([member, member])
  })
  afterAll(() => federation?.[Symbol.asyncDispose]())

  it(
    'has a day with somebody of another server',
    async () => {
      const [home, away] = federation?.servers ?? []
      if (!home || !away) throw new Error('two servers')
      const [bot, person] = await Promise.all([register(home, 'bot'), register(away, 'person')])
      const script = fileURLToPath(new URL('./bot-day.mjs', import.meta.url))
      const people = [home.clientUrl, bot.token, away.clientUrl, person.token]
      const { stdout } = await promisify(execFile)(process.execPath, [script, folder, ...people], {
        timeout: dayTimeoutMs,
      })
      expect(JSON.parse(stdout)).toEqual({
        thread: [true],
        edited: { msgtype: 'm.text', body: 'hello' },
        scrolled: true,
        context: true,
      })
    },
    dayTimeoutMs,
  )
})
