import { describe, expect, it } from 'vitest'
import { propertiesOf, textOf } from './page.ts'

const of = (html: string) => Object.fromEntries(propertiesOf(html))

describe('a page', () => {
  it('tells what it is about', () => {
    const html = `<!doctype html><html><head><title>The film (1996)</title>
      <meta property="og:title" content="The &amp; film"><META PROPERTY="og:image" CONTENT="a.png"/>
      <meta name="description" content="two
        lines"></head><body><meta property="og:title" content="later"><meta property="og:type" content="x"></body></html>`
    expect(of(html)).toEqual({
      'og:title': 'The & film',
      'og:image': 'a.png',
      'og:description': 'two lines',
    })
  })

  it('is known by its title, by what it tells others, and by its picture', () => {
    expect(of('<title>  A\n page </title><svg><title>no</title></svg>')).toEqual({
      'og:title': 'A page',
    })
    const other = '<meta name="twitter:title" content="T"><link rel="image_src" href="/p.jpg">'
    expect(of(`${other}<title>page</title>`)).toEqual({ 'og:title': 'T', 'og:image': '/p.jpg' })
  })

  it.each([
    ['nothing', ''],
    ['no page', '\u0000\u0001<<<<>>>'],
    ['very deep', '<b>'.repeat(100_000)],
  ])('may be %s', (_, html) => expect(of(html)).toEqual({}))

  it('cannot tell very much, nor under any name', () => {
    const many = Array.from({ length: 200 }, (_, at) => `<meta property="og:x${at}" content="y">`)
    expect(Object.keys(of(many.join('')))).toHaveLength(50)
    const long = of(`<meta property="og:title" content="${'😀'.repeat(1_000)}">`)
    expect(long['og:title']).toBe('😀'.repeat(500))
    expect(of('<meta property="__proto__" content="y"><meta property="og:" content="y">')).toEqual(
      {},
    )
  })
})

describe('the text of a page', () => {
  it('is read in the encoding that is named, and else as UTF-8', () => {
    const cyrillic = Buffer.from([0xcc, 0xe8, 0xf0])
    expect(textOf(cyrillic, 'text/html; charset=windows-1251')).toBe('Мир')
    const told = Buffer.concat([Buffer.from('<meta charset="windows-1251">'), cyrillic])
    expect(textOf(told, 'text/html')).toContain('Мир')
    expect(textOf(Buffer.from('Мир'), 'text/html')).toBe('Мир')
    expect(textOf(Buffer.from('Мир'), 'text/html; charset=made-up')).toBe('Мир')
  })
})
