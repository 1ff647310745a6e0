/**
 * behaviours.tsv names, for behaviours that independent suites check, the test here that shows each, or the issue that
 * will. This holds the table to the truth: a test that it names is there.
 */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'

const here = import.meta.dirname
const [, ...rows] = readFileSync(join(here, 'behaviours.tsv'), 'utf8').trimEnd().split('\n')

describe('the table of behaviours', () => {
  it('has an area, a behaviour, and a test or an issue in every row', () => {
    const wrong = rows.filter(
      (row) => !/^[a-z-]+\t[^\t]+\t(#\d+|[\w/-]+\.test\.ts › .+)$/.test(row),
    )
    expect(wrong).toEqual([])
  })

  it('names tests that are there', () => {
    const named = new Set(
      rows.map((row) => row.split('\t')[2] ?? '').filter((cell) => cell.includes(' › ')),
    )
    const missing = [...named].filter((cell) => {
      const [file = '', title = ''] = cell.split(' › ')
      const path = join(here, file)
      return !existsSync(path) || !readFileSync(path, 'utf8').includes(title)
    })
    expect(missing).toEqual([])
  })

  it('has no behaviour twice', () => {
    const keys = rows.map((row) => row.split('\t').slice(0, 2).join('\t'))
    expect(keys.filter((key, index) => keys.indexOf(key) !== index)).toEqual([])
  })
})
