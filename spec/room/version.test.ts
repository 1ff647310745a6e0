import { describe, expect, it } from 'vitest'
import { defaultRoomVersion, type RoomVersionRules, roomVersions, rulesOf } from './version.ts'

/** The versions in which a rule holds, as `from-to`. */
function versionsWith(holds: (rules: RoomVersionRules) => boolean): string {
  const numbers = [...roomVersions.values()].filter(holds).map(({ version }) => Number(version))
  const [from, to] = [Math.min(...numbers), Math.max(...numbers)]
  expect(numbers).toEqual(Array.from({ length: to - from + 1 }, (_, n) => from + n))
  return `${from}-${to}`
}

describe('room versions', () => {
  it('are 1 to 12, each under its own name', () => {
    expect([...roomVersions.keys()]).toEqual(Array.from({ length: 12 }, (_, n) => String(n + 1)))
    for (const [version, rules] of roomVersions) expect(rules.version).toBe(version)
  })

  it('are 12 by default', () => {
    expect(defaultRoomVersion).toBe('12')
  })

  it('are unknown beyond', () => {
    for (const version of ['0', '13', '', '1.0', 'constructor', 'org.matrix.msc2176']) {
      expect(rulesOf(version)).toBeUndefined()
    }
  })

  it.each<[string, (rules: RoomVersionRules) => boolean, string]>([
    ['name events in pairs', (r) => r.eventFormat === 'pair', '1-2'],
    ['have opaque event ids', (r) => r.eventIdFormat === 'opaque', '1-2'],
    ['have event ids in standard Base64', (r) => r.eventIdFormat === 'base64', '3-3'],
    ['have event ids in URL-safe Base64', (r) => r.eventIdFormat === 'base64url', '4-12'],
    ['resolve state by v1', (r) => r.stateResolution === 'v1', '1-1'],
    ['resolve state by v2', (r) => r.stateResolution === 'v2', '2-11'],
    ['resolve state by v2.1', (r) => r.stateResolution === 'v2.1', '12-12'],
    ['authorise redactions by the auth rules', (r) => r.redactionInAuth, '1-2'],
    ['treat aliases specially', (r) => r.specialAliases && r.redaction.keepAliases, '1-5'],
    ['enforce the validity of keys', (r) => r.enforceKeyValidity, '5-12'],
    ['enforce canonical JSON', (r) => r.strictCanonicalJson, '6-12'],
    ['check the levels of notifications', (r) => r.limitNotificationsPowerLevels, '6-12'],
    ['let people knock', (r) => r.knocking, '7-12'],
    ['restrict joins', (r) => r.restrictedJoin && r.redaction.keepJoinRulesAllow, '8-12'],
    ['keep who let a member in', (r) => r.redaction.keepMemberAuthorisedVia, '9-12'],
    ['restrict knocks', (r) => r.knockRestricted, '10-12'],
    ['want integers as levels', (r) => r.integerPowerLevels, '10-12'],
    ['have the newer redactions', (r) => r.redaction.updated && r.redactsInContent, '11-12'],
    ['have the sender as creator', (r) => r.implicitCreator, '11-12'],
    ['count sizes in bytes', (r) => r.sizesInBytes, '11-12'],
    ['have the hash of the create event as room id', (r) => r.createHashRoomId, '12-12'],
    ['privilege creators', (r) => r.privilegedCreators, '12-12'],
  ])('%s in the versions %#', (_what, holds, versions) => {
    expect(versionsWith(holds)).toBe(versions)
  })
})
