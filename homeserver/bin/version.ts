import { existsSync, readFileSync } from 'node:fs'
import { z } from 'zod'

/** The version in package.json, which lies above this file both in the source tree and in dist/. */
export const version = readVersion()

function readVersion(): string {
  for (const up of ['../../', '../../../']) {
    const url = new URL(`${up}package.json`, import.meta.url)
    if (!existsSync(url)) continue
    return z.object({ version: z.string() }).parse(JSON.parse(readFileSync(url, 'utf8'))).version
  }
  return 'unknown'
}
