/**
 * What differs between room versions, as named flags. No code asks for a number; it asks for a rule.
 * {@link https://spec.matrix.org/v1.19/rooms/}
 */
export interface RoomVersionRules {
  readonly version: string
  /** May a client create a room of this version here. */
  readonly creatable: boolean
  /** 'pair': `[[id, {sha256}]]` with event_id in the PDU (v1–2); 'list': ids, event_id from the reference hash. */
  readonly eventFormat: 'pair' | 'list'
  /** 'opaque': `$x:server` (v1–2); 'base64': standard alphabet (v3); 'base64url' (v4+). */
  readonly eventIdFormat: 'opaque' | 'base64' | 'base64url'
  readonly stateResolution: 'v1' | 'v2' | 'v2.1'
  /** v6+: canonical JSON is enforced (integers in range, no floats). */
  readonly strictCanonicalJson: boolean
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
}

/** Which content keys survive a redaction, by change of version. */
export interface RedactionRules {
  readonly keepAliases: boolean
  readonly keepJoinRulesAllow: boolean
  readonly keepMemberAuthorisedVia: boolean
  /** v11+: all of create, redacts of redaction, invite of power levels, signed of third_party_invite; fewer top-level keys. */
  readonly updated: boolean
}
