import { z } from 'zod'
import { jsonObject } from '../api/fields.ts'
import { deviceIdSchema, eventIdSchema, roomIdSchema, userIdSchema } from '../ids.ts'

/**
 * What servers tell each other beside events, and nobody has to keep.
 * {@link https://spec.matrix.org/v1.19/server-server-api/#edus}
 */

const timestamp = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER)
const streamId = z.number().int()

/** {@link https://spec.matrix.org/v1.19/server-server-api/#edus} */
export const eduSchema = z.object({ edu_type: z.string().min(1).max(255), content: jsonObject })

/** {@link https://spec.matrix.org/v1.19/server-server-api/#typing-notifications} */
export const typingEduSchema = z.object({
  room_id: roomIdSchema,
  user_id: userIdSchema,
  typing: z.boolean(),
})

/** {@link https://spec.matrix.org/v1.19/server-server-api/#receipts} */
export const receiptEduSchema = z.record(
  roomIdSchema,
  z.record(
    z.string().max(255),
    z.record(
      userIdSchema,
      z.looseObject({
        event_ids: z.array(eventIdSchema).min(1).max(1),
        data: z.looseObject({ ts: timestamp, thread_id: z.string().max(255).optional() }),
      }),
    ),
  ),
)

/** {@link https://spec.matrix.org/v1.19/server-server-api/#presence} */
export const presenceEduSchema = z.object({
  push: z
    .array(
      z.looseObject({
        user_id: userIdSchema,
        presence: z.enum(['online', 'unavailable', 'offline', 'org.matrix.msc3026.busy']),
        last_active_ago: timestamp.optional(),
        status_msg: z.string().max(2_048).nullish(),
        currently_active: z.boolean().optional(),
      }),
    )
    .max(1_000),
})

/** {@link https://spec.matrix.org/v1.19/server-server-api/#send-to-device-messaging} */
export const toDeviceEduSchema = z.object({
  sender: userIdSchema,
  type: z.string().min(1).max(255),
  message_id: z.string().min(1).max(255),
  messages: z.record(userIdSchema, z.record(z.string().max(255), jsonObject)),
})

/** {@link https://spec.matrix.org/v1.19/server-server-api/#device-management} */
export const deviceListEduSchema = z.looseObject({
  user_id: userIdSchema,
  device_id: deviceIdSchema,
  stream_id: streamId,
  prev_id: z.array(streamId).max(1_000).nullish(),
  deleted: z.boolean().nullish(),
  device_display_name: z.string().max(1_024).nullish(),
  keys: jsonObject.nullish(),
})

/** {@link https://spec.matrix.org/v1.19/server-server-api/#end-to-end-encryption} */
export const signingKeyEduSchema = z.looseObject({
  user_id: userIdSchema,
  master_key: jsonObject.nullish(),
  self_signing_key: jsonObject.nullish(),
})
