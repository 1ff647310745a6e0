/**
 * What differs between room versions, as named flags. No code asks for a number; it asks for a rule.
 * {@link https://spec.matrix.org/v1.19/rooms/}
 */
export interface RoomVersionRules {
  readonly version: string
  /** 'pair': `[[id, {sha256}]]` with event_id in the PDU (v1–2); 'list': ids, event_id from the reference hash. */
  readonly eventFormat: 'pair' | 'list'
  /** 'opaque': `$x:server` (v1–2); 'base64': standard alphabet (v3); 'base64url' (v4+). */
  readonly eventIdFormat: 'opaque' | 'base64' | 'base64url'
  readonly stateResolution: 'v1' | 'v2' | 'v2.1'
  /** v6+: canonical JSON is enforced (integers in range, no floats). */
  readonly strictCanonicalJson: boolean
  /**
   * v11+: an event whose type or state key has more than 255 bytes is none. Before, servers counted code points, so that
   * rooms hold longer ones: what follows them has to be taken. {@link https://spec.matrix.org/v1.19/client-server-api/#size-limits}
   */
  readonly sizesInBytes: boolean
  /** v5+: signing keys must be valid at the event's time. */
  readonly enforceKeyValidity: boolean
  /** v1–5: `m.room.aliases` has an auth rule and keeps `aliases` when redacted. */
  readonly specialAliases: boolean
  /** v1–2: redactions are authorised by the auth rules. */
  readonly redactionInAuth: boolean
  /** v6+: the notifications key of power levels is checked. */
  readonly limitNotificationsPowerLevels: boolean
  /** v7+ */
  readonly knocking: boolean
  /** v8+ */
  readonly restrictedJoin: boolean
  /** v10+ */
  readonly knockRestricted: boolean
  /** v10+: power levels must be integers, not strings. */
  readonly integerPowerLevels: boolean
  /** v11+: `redacts` lives in content. */
  readonly redactsInContent: boolean
  /** v11+: the create event has no `creator`; its sender is the creator. */
  readonly implicitCreator: boolean
  /** v8: join_rules keep `allow`; v9+: members keep join_authorised_via_users_server; v11+: the updated list. */
  readonly redaction: RedactionRules
  /** v12+: room id is the create event's hash, creators have infinite power, create is not in auth_events. */
  readonly createHashRoomId: boolean
  /** v12+: creators (sender and additional_creators) outrank every power level. */
  readonly privilegedCreators: boolean
  /**
   * MSC3757: state that is keyed by a user id, or by one with `_` and more behind it, belongs to that user and to those
   * with more power. {@link https://github.com/matrix-org/matrix-spec-proposals/pull/3757}
   */
  readonly ownedState: boolean
}

/** Which content keys survive a redaction, by change of version. */
export interface RedactionRules {
  readonly keepAliases: boolean
  readonly keepJoinRulesAllow: boolean
  readonly keepMemberAuthorisedVia: boolean
  /** v11+: all of create, redacts of redaction, invite of power levels, signed of third_party_invite; fewer top-level keys. */
  readonly updated: boolean
}

/** The room version of a room whose creator names none. {@link https://spec.matrix.org/v1.19/rooms/#complete-list-of-room-versions} */
export const defaultRoomVersion = '12'

const v1: RoomVersionRules = {
  version: '1',
  eventFormat: 'pair',
  eventIdFormat: 'opaque',
  stateResolution: 'v1',
  strictCanonicalJson: false,
  sizesInBytes: false,
  enforceKeyValidity: false,
  specialAliases: true,
  redactionInAuth: true,
  limitNotificationsPowerLevels: false,
  knocking: false,
  restrictedJoin: false,
  knockRestricted: false,
  integerPowerLevels: false,
  redactsInContent: false,
  implicitCreator: false,
  redaction: {
    keepAliases: true,
    keepJoinRulesAllow: false,
    keepMemberAuthorisedVia: false,
    updated: false,
  },
  createHashRoomId: false,
  privilegedCreators: false,
  ownedState: false,
}

const v2: RoomVersionRules = { ...v1, version: '2', stateResolution: 'v2' }

const v3: RoomVersionRules = {
  ...v2,
  version: '3',
  eventFormat: 'list',
  eventIdFormat: 'base64',
  redactionInAuth: false,
}

const v4: RoomVersionRules = { ...v3, version: '4', eventIdFormat: 'base64url' }

const v5: RoomVersionRules = { ...v4, version: '5', enforceKeyValidity: true }

const v6: RoomVersionRules = {
  ...v5,
  version: '6',
  strictCanonicalJson: true,
  specialAliases: false,
  limitNotificationsPowerLevels: true,
  redaction: { ...v5.redaction, keepAliases: false },
}

const v7: RoomVersionRules = { ...v6, version: '7', knocking: true }

const v8: RoomVersionRules = {
  ...v7,
  version: '8',
  restrictedJoin: true,
  redaction: { ...v7.redaction, keepJoinRulesAllow: true },
}

const v9: RoomVersionRules = {
  ...v8,
  version: '9',
  redaction: { ...v8.redaction, keepMemberAuthorisedVia: true },
}

const v10: RoomVersionRules = {
  ...v9,
  version: '10',
  knockRestricted: true,
  integerPowerLevels: true,
}

const v11: RoomVersionRules = {
  ...v10,
  version: '11',
  sizesInBytes: true,
  redactsInContent: true,
  implicitCreator: true,
  redaction: { ...v10.redaction, updated: true },
}

const v12: RoomVersionRules = {
  ...v11,
  version: '12',
  stateResolution: 'v2.1',
  createHashRoomId: true,
  privilegedCreators: true,
}

/** Every stable room version this server can take part in, by its name. */
export const roomVersions: ReadonlyMap<string, RoomVersionRules> = new Map(
  [v1, v2, v3, v4, v5, v6, v7, v8, v9, v10, v11, v12].map((rules) => [rules.version, rules]),
)

const ownedState10: RoomVersionRules = {
  ...v10,
  version: 'org.matrix.msc3757.10',
  ownedState: true,
}
const ownedState11: RoomVersionRules = {
  ...v11,
  version: 'org.matrix.msc3757.11',
  ownedState: true,
}

/** Room versions of proposals that this server can take part in as well. */
export const unstableRoomVersions: ReadonlyMap<string, RoomVersionRules> = new Map(
  [ownedState10, ownedState11].map((rules) => [rules.version, rules]),
)

/** The rules of a room version; undefined when this server does not know it. */
export function rulesOf(version: string): RoomVersionRules | undefined {
  return roomVersions.get(version) ?? unstableRoomVersions.get(version)
}
