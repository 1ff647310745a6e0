/** Words by which users are found. */
import { localpartOf, serverOfUser, type UserId } from '../../spec/ids.ts'
import { quoted } from './queries.ts'

/** Words of one name, and characters of one word; of a user id as a whole, which has no more than these. */
const wordsMax = 32
const wordLengthMax = 64
const idLengthMax = 255

/** Lower-case words of letters and digits. */
function wordsOf(text: string): string[] {
  const words =
    text
      .normalize('NFKC')
      .toLowerCase()
      .match(/[\p{L}\p{N}]+/gu) ?? []
  return words.slice(0, wordsMax).map((word) => cut(word, wordLengthMax))
}

/** Not in the middle of a character: half of one is nothing that a database holds. */
function cut(text: string, lengthMax: number): string {
  return text.slice(0, lengthMax).replace(/\p{Surrogate}$/u, '')
}

/** What a user with a name is found by: the words of the name and of the local part, and the whole id. */
export function nameWords(user: UserId, name: string): string[] {
  const whole = `${localpartOf(user)}:${serverOfUser(user)}`.toLowerCase()
  return [...new Set([...wordsOf(name), ...wordsOf(localpartOf(user)), `@${whole}`])]
}

/** The tsquery of a term: all of its words as beginnings, or the beginning of a user id. */
export function nameQuery(term: string): string | undefined {
  const lower = term.trim().toLowerCase()
  const mayBeId = lower.length <= idLengthMax
  if (lower.startsWith('@') && lower.length > 1) return mayBeId ? `${quoted(lower)}:*` : undefined
  const words = wordsOf(lower).map((word) => `${quoted(word)}:*`)
  const byId = mayBeId && lower.includes(':') ? `${quoted(`@${lower}`)}:*` : undefined
  const byWords = words.length > 0 ? `(${words.join(' & ')})` : undefined
  const parts = [byId, byWords].filter((part) => part !== undefined)
  return parts.length > 0 ? parts.join(' | ') : undefined
}

/** Is a term found in a name or an id: what the index has said, said of one name. */
export function matchesName(term: string, user: UserId, name: string): boolean {
  const lower = term.trim().toLowerCase()
  const words = nameWords(user, name)
  if (lower.startsWith('@') && lower.length > 1) {
    return words.some((word) => word.startsWith(lower))
  }
  if (lower.includes(':') && words.some((word) => word.startsWith(`@${lower}`))) return true
  const wanted = wordsOf(lower)
  return wanted.length > 0 && wanted.every((one) => words.some((word) => word.startsWith(one)))
}
