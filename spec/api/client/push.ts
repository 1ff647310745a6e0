import { z } from 'zod'
import { endpoint } from '../../endpoint.ts'
import {
  pushActionSchema,
  pushRuleBodySchema,
  pushRuleKindSchema,
  pushRuleSchema,
  pushRulesetSchema,
} from '../../push/rules.ts'
import { clientEvent, jsonObject, nothing, openObject, queryLimit } from '../fields.ts'

const kind = pushRuleKindSchema
const actions = z.array(pushActionSchema).max(100)
const ruleId = z.string().min(1).max(255)
const rules = '/_matrix/client/v3/pushrules'

export const getPushRules = endpoint({
  name: 'getPushRules',
  method: 'GET',
  auth: 'token',
  rateLimit: 'read',
  paths: [`${rules}/`, rules],
  reply: z.object({ global: pushRulesetSchema }),
})

export const getGlobalPushRules = endpoint({
  name: 'getGlobalPushRules',
  method: 'GET',
  auth: 'token',
  rateLimit: 'read',
  paths: [`${rules}/global/`, `${rules}/global`],
  reply: pushRulesetSchema,
})

export const getPushRule = endpoint({
  name: 'getPushRule',
  method: 'GET',
  auth: 'token',
  rateLimit: 'read',
  errors: ['M_NOT_FOUND'],
  paths: [`${rules}/global/{kind}/{ruleId}`],
  params: { kind, ruleId },
  reply: pushRuleSchema,
})

export const setPushRule = endpoint({
  name: 'setPushRule',
  method: 'PUT',
  auth: 'token',
  rateLimit: 'write',
  errors: ['M_UNKNOWN', 'M_NOT_FOUND', 'M_INVALID_PARAM'],
  paths: [`${rules}/global/{kind}/{ruleId}`],
  params: { kind, ruleId },
  query: {
    before: z.string().max(255).exactOptional(),
    after: z.string().max(255).exactOptional(),
  },
  body: pushRuleBodySchema,
  reply: nothing,
})

export const deletePushRule = endpoint({
  name: 'deletePushRule',
  method: 'DELETE',
  auth: 'token',
  rateLimit: 'write',
  errors: ['M_NOT_FOUND'],
  paths: [`${rules}/global/{kind}/{ruleId}`],
  params: { kind, ruleId },
  reply: nothing,
})

export const getPushRuleActions = endpoint({
  name: 'getPushRuleActions',
  method: 'GET',
  auth: 'token',
  rateLimit: 'read',
  errors: ['M_NOT_FOUND'],
  paths: [`${rules}/global/{kind}/{ruleId}/actions`],
  params: { kind, ruleId },
  reply: z.object({ actions: actions.readonly() }),
})

export const setPushRuleActions = endpoint({
  name: 'setPushRuleActions',
  method: 'PUT',
  auth: 'token',
  rateLimit: 'write',
  errors: ['M_NOT_FOUND'],
  paths: [`${rules}/global/{kind}/{ruleId}/actions`],
  params: { kind, ruleId },
  body: z.object({ actions }),
  reply: nothing,
})

export const isPushRuleEnabled = endpoint({
  name: 'isPushRuleEnabled',
  method: 'GET',
  auth: 'token',
  rateLimit: 'read',
  errors: ['M_NOT_FOUND'],
  paths: [`${rules}/global/{kind}/{ruleId}/enabled`],
  params: { kind, ruleId },
  reply: z.object({ enabled: z.boolean() }),
})

export const setPushRuleEnabled = endpoint({
  name: 'setPushRuleEnabled',
  method: 'PUT',
  auth: 'token',
  rateLimit: 'write',
  errors: ['M_NOT_FOUND'],
  paths: [`${rules}/global/{kind}/{ruleId}/enabled`],
  params: { kind, ruleId },
  body: z.object({ enabled: z.boolean() }),
  reply: nothing,
})

export const getNotifications = endpoint({
  name: 'getNotifications',
  method: 'GET',
  auth: 'token',
  rateLimit: 'read',
  errors: ['M_INVALID_PARAM'],
  paths: ['/_matrix/client/v3/notifications'],
  query: {
    from: z.string().max(32).exactOptional(),
    limit: queryLimit(100).default(20),
    only: z.string().max(255).exactOptional(),
  },
  reply: z.object({
    next_token: z.string().exactOptional(),
    notifications: z.array(
      z.object({
        actions: z.array(pushActionSchema).readonly(),
        event: clientEvent,
        profile_tag: z.string().nullable().exactOptional(),
        read: z.boolean(),
        room_id: z.string(),
        ts: z.number(),
      }),
    ),
  }),
})

export const getPushers = endpoint({
  name: 'getPushers',
  method: 'GET',
  auth: 'token',
  rateLimit: 'read',
  paths: ['/_matrix/client/v3/pushers'],
  reply: z.object({ pushers: z.array(jsonObject) }),
})

export const setPusher = endpoint({
  name: 'setPusher',
  method: 'POST',
  auth: 'token',
  rateLimit: 'write',
  errors: ['M_MISSING_PARAM'],
  paths: ['/_matrix/client/v3/pushers/set'],
  body: openObject({
    app_id: z.string().max(64),
    pushkey: z.string().max(512),
    kind: z.string().max(64).nullable(),
    app_display_name: z.string().max(1024).exactOptional(),
    device_display_name: z.string().max(1024).exactOptional(),
    profile_tag: z.string().max(64).nullable().exactOptional(),
    lang: z.string().max(64).exactOptional(),
    data: jsonObject.exactOptional(),
    append: z.boolean().exactOptional(),
    // {@link https://github.com/matrix-org/matrix-spec-proposals/pull/3881}
    'org.matrix.msc3881.enabled': z.boolean().exactOptional(),
  }),
  reply: nothing,
})
