/** What a page of the web says of itself in its head. */
import { Parser } from 'htmlparser2'

/** By the names of the Open Graph protocol, `og:title` and the like. {@link https://ogp.me} */
export type PageProperties = ReadonlyMap<string, string>

const valueCharsMax = 1_000
const propertiesMax = 50
/** Elements in one another: no head is so deep, and each level costs the parser more than the last. */
const depthMax = 256
const nameForm = /^og:[a-z0-9_:]{1,60}$/
/** Under what other names pages say the same, used where the first is missing. */
const alternatives: ReadonlyMap<string, string> = new Map([
  ['twitter:title', 'og:title'],
  ['twitter:description', 'og:description'],
  ['twitter:image', 'og:image'],
  ['twitter:image:src', 'og:image'],
  ['description', 'og:description'],
  ['application-name', 'og:site_name'],
])

/** Reads the head of a page; never throws, whatever the page is. */
export function propertiesOf(html: string): PageProperties {
  const found = new Map<string, string>()
  const second = new Map<string, string>()
  let title: string | undefined
  let isInTitle = false
  let depth = 0

  const add = (to: Map<string, string>, name: string, value: string) => {
    const text = shortened(value.replace(/\s+/g, ' ').trim())
    if (text !== '' && !to.has(name) && to.size < propertiesMax) to.set(name, text)
  }
  const parser: Parser = new Parser({
    onopentag(tag, attributes) {
      if (tag === 'title' && title === undefined) title = ''
      if (tag === 'link' && attributes['rel'] === 'image_src' && attributes['href'] !== undefined) {
        add(second, 'og:image', attributes['href'])
      }
      if (tag !== 'meta') return
      const { property, name, content } = attributes
      const key = (property ?? name ?? '').toLowerCase()
      if (content === undefined) return
      if (nameForm.test(key)) add(found, key, content)
      const other = alternatives.get(key)
      if (other !== undefined) add(second, other, content)
    },
    ontext(text) {
      if (isInTitle && title !== undefined && title.length < valueCharsMax) title += text
    },
    onopentagname(tag) {
      isInTitle = tag === 'title' && title === undefined
      if (tag === 'body' || ++depth > depthMax) parser.pause()
    },
    onclosetag(tag) {
      depth--
      if (tag === 'title') isInTitle = false
    },
  })
  parser.end(html)
  if (title !== undefined) add(second, 'og:title', title)
  return new Map([...second, ...found])
}

/** Not in the middle of a character. */
function shortened(text: string): string {
  return text.slice(0, valueCharsMax).replace(/[\uD800-\uDBFF]$/, '')
}

/** The text of a page by what its header, its byte order mark or its head say of the encoding; UTF-8 otherwise. */
export function textOf(bytes: Buffer, contentType: string): string {
  const head = bytes.subarray(0, 2_048).toString('latin1')
  const named =
    /charset=["']?([\w-]{1,40})/i.exec(contentType)?.[1] ??
    /<meta[^>]{0,200}charset=["']?([\w-]{1,40})/i.exec(head)?.[1]
  try {
    return new TextDecoder(named ?? 'utf-8').decode(bytes)
  } catch {
    return new TextDecoder().decode(bytes)
  }
}
