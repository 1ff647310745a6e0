import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Db } from '../database/database.ts'
import type { Random } from '../platform/random.ts'
import { InstanceError } from './instance.ts'
import { addRecord, listRecords } from './instance-queries.ts'

const probeFile = '.folkmoot-instance'
const recordName = 'media_folder'
/** Between the first process's record and its file. */
const writerMs = 1_000
const pollMs = 100

/**
 * Checks that `folder` is the one folder that all processes of the instance keep their files in: the first process
 * leaves a probe file there and records it, every other must find it. Rejects with InstanceError.
 */
export async function checkSharedFolder(db: Db, random: Random, folder: string): Promise<void> {
  mkdirSync(folder, { recursive: true })
  const path = join(folder, probeFile)
  const before = (await listRecords(db)).get(recordName)
  if (before === undefined) {
    const value = existsSync(path) ? readProbe(path) : random.text(32)
    await addRecord(db, recordName, { value, kept_in: 'database' })
    const recorded = (await listRecords(db)).get(recordName)
    // Only who recorded it writes it: another process, on another machine, must find the file by itself.
    if (recorded?.value === value) writeFileSync(path, `${value}\n`, { mode: 0o644 })
  }
  const expected = (await listRecords(db)).get(recordName)?.value
  for (let waitedMs = 0; waitedMs <= writerMs; waitedMs += pollMs) {
    if (existsSync(path) && readProbe(path) === expected) return
    await new Promise((resolve) => setTimeout(resolve, pollMs))
  }
  throw new InstanceError(
    `media_dir = ${folder} is not the folder that the other processes of this server keep their files in (${probeFile} is missing or another's): share that folder with this machine and set MEDIA_DIR, or, if the files were moved, write the line "${expected}" into ${path}`,
  )
}

function readProbe(path: string): string {
  return readFileSync(path, 'utf8').trim()
}
