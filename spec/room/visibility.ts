/** What decides whether a user may see an event. Memberships and visibilities are those of the state at the event. */
export interface UserView {
  /** `history_visibility` of the state before the event; undefined where the room has none. */
  readonly historyVisibility: string | undefined
  /** Of the state after it: given for `m.room.history_visibility` events only. */
  readonly historyVisibilityAfter?: string | undefined
  /** The user's membership in the state before the event. */
  readonly membershipAtEvent: string | undefined
  /** The user's membership after it: given for the user's own `m.room.member` events only. */
  readonly membershipAfterEvent?: string | undefined
  /** The user's membership now, or when they left (the caller shows nothing that came later to those who left). */
  readonly currentMembership: string | undefined
  /** Did the user join after the event was sent; told by `currentMembership` where it is not given. */
  readonly joinedSince?: boolean | undefined
}

/**
 * May the user see the event.
 * {@link https://spec.matrix.org/v1.19/client-server-api/#server-behaviour-5}
 */
export function maySee(view: UserView): boolean {
  const { membershipAtEvent, membershipAfterEvent } = view
  const joinedSince = view.joinedSince ?? view.currentMembership === 'join'
  // A change of visibility is seen by whom either setting lets see it, and so are changes of one's own membership.
  const visibilities = [known(view.historyVisibility)]
  if (view.historyVisibilityAfter !== undefined) {
    visibilities.push(known(view.historyVisibilityAfter))
  }
  return visibilities.some(
    (visibility) =>
      allows(visibility, membershipAtEvent, joinedSince) ||
      allows(visibility, membershipAfterEvent, joinedSince),
  )
}

/** What decides whether a server in the room may have an event. */
export interface ServerView {
  readonly historyVisibility: string | undefined
  /** Given for `m.room.history_visibility` events only. */
  readonly historyVisibilityAfter?: string | undefined
  /** Memberships of the server's users before the event, and for membership events of its users also after it. */
  readonly memberships: Iterable<string>
}

/**
 * May a server see the event: when the visibility lets it be shared with whoever joins, or one of its users may see it.
 * That the server is in the room, and not shut out by its server ACL, is checked before.
 * {@link https://spec.matrix.org/v1.19/server-server-api/#backfilling-and-retrieving-missing-events}
 */
export function serverMaySee(view: ServerView): boolean {
  const visibilities = [known(view.historyVisibility)]
  if (view.historyVisibilityAfter !== undefined) {
    visibilities.push(known(view.historyVisibilityAfter))
  }
  // Any user of the server may join later, which "shared" is for.
  if (visibilities.some((each) => each === 'world_readable' || each === 'shared')) return true
  for (const membership of view.memberships) {
    if (visibilities.some((each) => allows(each, membership, false))) return true
  }
  return false
}

type HistoryVisibility = 'world_readable' | 'shared' | 'invited' | 'joined'

/** The setting, or `shared` for none and for one that is not understood. */
function known(visibility: string | undefined): HistoryVisibility {
  switch (visibility) {
    case 'world_readable':
    case 'invited':
    case 'joined':
      return visibility
    default:
      return 'shared'
  }
}

function allows(
  visibility: HistoryVisibility,
  membership: string | undefined,
  joinedSince: boolean,
): boolean {
  // 1
  if (visibility === 'world_readable') return true
  // 2: who was in the room.
  if (membership === 'join') return true
  // 3: who came in later.
  if (visibility === 'shared') return joinedSince
  // 4: who was invited at that time; 5: nobody else.
  return visibility === 'invited' && membership === 'invite'
}
