/** What an event may relate to, beyond what the auth rules say. */
import { badJson, MatrixError } from '../../spec/errors.ts'
import type { UserId } from '../../spec/ids.ts'
import { type Relation, relationOf } from '../../spec/room/relation.ts'
import type { Events } from '../events/events.ts'
import type { Draft } from './rooms.ts'

/** Longest key of an annotation, in UTF-16 units. */
const keyMax = 500

/** Why an event that a user wants to send may not relate to what it relates to; undefined when it may. */
export async function relationRefusal(
  events: Pick<Events, 'get' | 'relations'>,
  sender: UserId,
  draft: Draft,
): Promise<MatrixError | undefined> {
  const relation = relationOf(draft)
  if (relation === undefined) return undefined
  const target = (await events.get([relation.target])).get(relation.target)
  if (target !== undefined && target.pdu.roomId !== draft.room) {
    return new MatrixError('M_UNKNOWN', 'Relations must be in the same room', { status: 400 })
  }
  switch (relation.relType) {
    case 'm.annotation':
      return await annotationRefusal(events, sender, draft.type, relation)
    case 'm.thread':
      return target !== undefined && relationOf(target.pdu) !== undefined ? nested() : undefined
    default:
      return undefined
  }
}

/** {@link https://spec.matrix.org/v1.19/client-server-api/#avoiding-duplicate-annotations} */
async function annotationRefusal(
  { relations }: Pick<Events, 'relations'>,
  sender: UserId,
  type: string,
  { target, key }: Relation,
): Promise<MatrixError | undefined> {
  const field = 'm.relates_to.key'
  if (key === undefined) return badJson(field, 'missing')
  if (key.length > keyMax) return badJson(field, `longer than ${keyMax}`)
  if (!(await relations.hasAnnotated(target, { sender, type, key }))) return undefined
  return new MatrixError('M_DUPLICATE_ANNOTATION', "Can't send the same reaction twice")
}

/** {@link https://spec.matrix.org/v1.19/client-server-api/#validation-of-mthread-relationships} */
function nested(): MatrixError {
  return new MatrixError('M_UNKNOWN', 'Cannot start threads from an event with a relation', {
    status: 400,
  })
}
