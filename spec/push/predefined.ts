import type { PushAction, PushCondition, PushRule, PushRuleset } from './rules.ts'

/** The one predefined rule that comes before the user's own. */
export const masterRuleId = '.m.rule.master'

/**
 * The rules that every user has, in their order. The objects that name no user are shared between users.
 * {@link https://spec.matrix.org/v1.19/client-server-api/#predefined-rules}
 */
export function defaultRules(userId: string): PushRuleset {
  return {
    override: [
      master,
      suppressNotices,
      rule('.m.rule.invite_for_me', loud, [
        matches('type', 'm.room.member'),
        matches('content.membership', 'invite'),
        matches('state_key', userId),
      ]),
      memberEvent,
      rule('.m.rule.is_user_mention', loudHighlight, [
        { kind: 'event_property_contains', key: 'content.m\\.mentions.user_ids', value: userId },
      ]),
      isRoomMention,
      tombstone,
      reaction,
      serverAcl,
      suppressEdits,
      pollResponse,
    ],
    content: [],
    postcontent,
    room: [],
    sender: [],
    underride,
  }
}

const sound: PushAction = { set_tweak: 'sound', value: 'default' }
const highlight: PushAction = { set_tweak: 'highlight' }
const loud: readonly PushAction[] = ['notify', sound]
const loudHighlight: readonly PushAction[] = ['notify', sound, highlight]

const master: PushRule = { ...rule(masterRuleId, [], []), enabled: false }
const suppressNotices = rule(
  '.m.rule.suppress_notices',
  [],
  [matches('content.msgtype', 'm.notice')],
)
const memberEvent = rule('.m.rule.member_event', [], [matches('type', 'm.room.member')])
const isRoomMention = rule(
  '.m.rule.is_room_mention',
  ['notify', highlight],
  [
    { kind: 'event_property_is', key: 'content.m\\.mentions.room', value: true },
    { kind: 'sender_notification_permission', key: 'room' },
  ],
)
const tombstone = rule(
  '.m.rule.tombstone',
  ['notify', highlight],
  [matches('type', 'm.room.tombstone'), matches('state_key', '')],
)
const reaction = rule('.m.rule.reaction', [], [matches('type', 'm.reaction')])
const serverAcl = rule(
  '.m.rule.room.server_acl',
  [],
  [matches('type', 'm.room.server_acl'), matches('state_key', '')],
)
const suppressEdits = rule(
  '.m.rule.suppress_edits',
  [],
  [{ kind: 'event_property_is', key: 'content.m\\.relates_to.rel_type', value: 'm.replace' }],
)

// {@link https://github.com/matrix-org/matrix-spec-proposals/pull/3930} the names of polls before they are in the specification.
const pollResponse = rule(
  '.org.matrix.msc3930.rule.poll_response',
  [],
  [matches('type', 'org.matrix.msc3381.poll.response')],
)
const pollStarts = matches('type', 'org.matrix.msc3381.poll.start')
const pollEnds = matches('type', 'org.matrix.msc3381.poll.end')

const inPairs: PushCondition = { kind: 'room_member_count', is: '2' }
const underride: readonly PushRule[] = [
  rule(
    '.m.rule.call',
    ['notify', { set_tweak: 'sound', value: 'ring' }],
    [matches('type', 'm.call.invite')],
  ),
  rule('.m.rule.encrypted_room_one_to_one', loud, [inPairs, matches('type', 'm.room.encrypted')]),
  rule('.m.rule.room_one_to_one', loud, [inPairs, matches('type', 'm.room.message')]),
  rule('.m.rule.message', ['notify'], [matches('type', 'm.room.message')]),
  rule('.m.rule.encrypted', ['notify'], [matches('type', 'm.room.encrypted')]),
  rule('.org.matrix.msc3930.rule.poll_start_one_to_one', loud, [inPairs, pollStarts]),
  rule('.org.matrix.msc3930.rule.poll_start', ['notify'], [pollStarts]),
  rule('.org.matrix.msc3930.rule.poll_end_one_to_one', loud, [inPairs, pollEnds]),
  rule('.org.matrix.msc3930.rule.poll_end', ['notify'], [pollEnds]),
]

/** Off until a user's client turns them on: for one that does not subscribe they would silence all threads. */
const postcontent: readonly PushRule[] = [
  ofThreads('.io.element.msc4306.rule.unsubscribed_thread', [], false),
  ofThreads('.io.element.msc4306.rule.subscribed_thread', loud, true),
]

/** {@link https://github.com/matrix-org/matrix-spec-proposals/pull/4306} */
function ofThreads(ruleId: string, actions: readonly PushAction[], subscribed: boolean): PushRule {
  const condition = { kind: 'io.element.msc4306.thread_subscription', subscribed }
  return { ...rule(ruleId, actions, [condition]), enabled: false }
}

function rule(
  ruleId: string,
  actions: readonly PushAction[],
  conditions: readonly PushCondition[],
): PushRule {
  return { rule_id: ruleId, default: true, enabled: true, conditions, actions }
}

function matches(key: string, pattern: string): PushCondition {
  return { kind: 'event_match', key, pattern }
}
