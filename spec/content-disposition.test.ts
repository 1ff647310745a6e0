import { describe, expect, it } from 'vitest'
import { cleanFileName, contentDisposition, fileNameIn } from './content-disposition.ts'

describe('the disposition of a file', () => {
  it.each(['image/png', 'TEXT/plain; charset=utf-8', 'video/mp4'])('shows %s', (type) =>
    expect(contentDisposition(type, undefined)).toBe('inline'),
  )

  it.each(['text/html', 'image/svg+xml', 'application/xhtml+xml', '', 'nonsense'])(
    'has %s saved',
    (type) => expect(contentDisposition(type, undefined)).toBe('attachment'),
  )

  it('writes a name so that no sign in it ends it', () => {
    expect(contentDisposition('image/png', 'a;b "c"\\')).toBe('inline; filename="a;b \\"c\\"\\\\"')
    expect(contentDisposition('image/png', "ü'.png")).toBe("inline; filename*=utf-8''%C3%BC%27.png")
  })

  it.each(['ascii', 'name with spaces', 'name;with;semicolons', '☕ "x"\\', "it's (1)*.png"])(
    'is read as it was written: %s',
    (name) => expect(fileNameIn(contentDisposition('text/html', name))).toBe(name),
  )

  it('is read in the forms that others write', () => {
    expect(fileNameIn('attachment; filename=plain.txt')).toBe('plain.txt')
    expect(fileNameIn('inline')).toBeUndefined()
    expect(fileNameIn('inline; filename*=utf-8\'\'%ZZ; filename="b"')).toBe('b')
  })

  it('has no control characters in the name, and no halves of characters', () => {
    expect(cleanFileName('a\r\nb\0\ud800')).toBe('ab')
    expect(cleanFileName('\0')).toBeUndefined()
    expect(cleanFileName('😀'.repeat(200))?.length).toBe(254)
  })
})
