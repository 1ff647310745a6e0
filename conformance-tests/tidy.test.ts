import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize, relative } from 'node:path'
import { describe, expect, it } from 'vitest'

/**
 * The shape of the code: what may import what, who owns which table, how long a file may be, and words that have no
 * place. Each test lists the offenders, so that a failure says where to go.
 */
const root = join(import.meta.dirname, '..')

interface SourceFile {
  /** Path from the root, with slashes. */
  readonly path: string
  readonly text: string
  /** The text with comments and the contents of strings blanked out. */
  readonly code: string
  readonly imports: readonly string[]
}

const areas = ['spec', 'homeserver', 'client-api', 'federation', 'conformance-tests']
const files = areas.flatMap((area) => listFiles(area)).map(readSource)
const product = files.filter(({ path }) => !path.startsWith('conformance-tests/') && !isTest(path))

function listFiles(folder: string): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => relative(root, join(entry.parentPath, entry.name)))
    .filter((path) => !path.includes('node_modules/'))
}

function readSource(path: string): SourceFile {
  const text = readFileSync(join(root, path), 'utf8')
  const found = text.matchAll(/^(?:import|export)\b[^'"`;]*?from '([^']+)'|^import '([^']+)'/gm)
  const imports = [...found].map((match) => resolveImport(path, match[1] ?? match[2] ?? ''))
  return { path, text, code: blank(text), imports }
}

function resolveImport(from: string, specifier: string): string {
  return specifier.startsWith('.') ? normalize(join(dirname(from), specifier)) : specifier
}

function isTest(path: string): boolean {
  return /\.test\.ts$|\/test-[a-z-]+\.ts$|\/fake-[a-z-]+\.ts$/.test(path)
}

/** Blanks comments and strings; newlines stay, so that line numbers hold. */
function blank(text: string): string {
  const pieces =
    /\/\/[^\n]*|\/\*[\s\S]*?\*\/|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`|(?<=[=(,:!&|?]\s*)\/(?![/*])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n])+\/[a-z]*/g
  return text.replace(pieces, (piece) => piece.replace(/[^\n]/g, ' '))
}

/** `path:line` of every match in the files' code. */
function matches(among: readonly SourceFile[], pattern: RegExp, part: 'code' | 'text' = 'code') {
  return among.flatMap((file) =>
    [...file[part].matchAll(pattern)].map((match) => {
      const line = file[part].slice(0, match.index).split('\n').length
      return `${file.path}:${line}: ${match[0].trim()}`
    }),
  )
}

const area = (path: string) => path.split('/')[0] ?? ''
/** Folder below homeserver/; the files beside the folders are no slice. */
const slice = (path: string) => /^homeserver\/([a-z-]+)\//.exec(path)?.[1]

describe('the walls', () => {
  const allowed: Readonly<Record<string, readonly string[]>> = {
    spec: ['spec'],
    homeserver: ['spec', 'homeserver'],
    'client-api': ['spec', 'homeserver', 'client-api'],
    federation: ['spec', 'homeserver', 'federation'],
  }

  it('let imports go one way between the areas', () => {
    const offenders = product
      .filter(({ path }) => !path.startsWith('homeserver/bin/'))
      .flatMap(({ path, imports }) =>
        imports
          .filter((target) => areas.includes(area(target)))
          .filter((target) => !allowed[area(path)]?.includes(area(target)))
          .map((target) => `${path} → ${target}`),
      )
    expect(offenders).toEqual([])
  })

  it('keep everything but a few packages out of spec/', () => {
    const packages = ['zod', 'tweetnacl', 'canonical-json', 'node:crypto', 'node:buffer']
    const offenders = product
      .filter(({ path }) => area(path) === 'spec')
      .flatMap(({ path, imports }) =>
        imports
          .filter((target) => area(target) !== 'spec' && !packages.includes(target))
          .map((target) => `${path} → ${target}`),
      )
    expect(offenders).toEqual([])
  })

  it('let nobody but the command lines import homeserver/bin/', () => {
    const offenders = product
      .filter(({ path }) => !path.startsWith('homeserver/bin/'))
      .filter(({ imports }) => imports.some((target) => target.startsWith('homeserver/bin/')))
    expect(offenders.map(({ path }) => path)).toEqual([])
  })

  it('leave the conformance suite only spec/, so that it can test any server', () => {
    const offenders = files
      .filter(({ path }) => area(path) === 'conformance-tests')
      // The checker of the log drives the log itself and not a server.
      .filter(({ path }) => !path.startsWith('conformance-tests/log-checker/'))
      .flatMap(({ path, imports }) =>
        imports
          .filter((target) => ['homeserver', 'client-api', 'federation'].includes(area(target)))
          .map((target) => `${path} → ${target}`),
      )
    expect(offenders).toEqual([])
  })
})

describe('the slices of the engine', () => {
  /** What stands further right may import what stands further left. */
  const layers: readonly (readonly string[])[] = [
    ['platform'],
    ['database'],
    ['stream'],
    ['jobs', 'keys'],
    ['state'],
    ['destinations'],
    ['events'],
    ['rooms'],
    ['accounts', 'encryption', 'presence', 'receipts', 'notifications', 'media', 'search', 'sync'],
    ['appservices', 'delays', 'notices'],
    ['extensions'],
  ]
  const layerOf = (name: string) => layers.findIndex((names) => names.includes(name))
  const edges = product.flatMap(({ path, imports }) => {
    const from = slice(path)
    if (from === undefined || from === 'bin') return []
    return imports.flatMap((target) => {
      const to = slice(target)
      return to === undefined || to === from ? [] : [{ path, from, to, target }]
    })
  })

  it('are all placed in a layer', () => {
    const names = new Set(product.map(({ path }) => slice(path)))
    const unknown = [...names].filter(
      (name) => name !== undefined && name !== 'bin' && layerOf(name) === -1,
    )
    expect(unknown).toEqual([])
    expect(edges.length).toBeGreaterThan(20)
  })

  it('import only slices of the same layer or one below', () => {
    const offenders = edges.filter(({ from, to }) => layerOf(to) > layerOf(from))
    expect(offenders.map(({ path, target }) => `${path} → ${target}`)).toEqual([])
  })

  it('do not import each other in a circle', () => {
    const graph = new Map<string, Set<string>>()
    for (const { from, to } of edges) graph.set(from, (graph.get(from) ?? new Set()).add(to))
    const circles = [...graph.keys()].filter((name) => reaches(graph, name, name))
    expect(circles).toEqual([])
  })

  it('keep their SQL to themselves', () => {
    const offenders = edges.filter(({ target }) => /queries\.ts$/.test(target))
    const outside = product
      .filter(({ path }) => slice(path) === undefined)
      .flatMap(({ path, imports }) =>
        imports
          .filter((target) => slice(target) !== undefined && /queries\.ts$/.test(target))
          .map((target) => `${path} → ${target}`),
      )
    expect([...offenders.map(({ path, target }) => `${path} → ${target}`), ...outside]).toEqual([])
  })
})

function reaches(graph: Map<string, Set<string>>, from: string, goal: string): boolean {
  const seen = new Set<string>()
  const open = [...(graph.get(from) ?? [])]
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    if (next === goal) return true
    if (seen.has(next)) continue
    seen.add(next)
    open.push(...(graph.get(next) ?? []))
  }
  return false
}

describe('tables', () => {
  const folder = join(root, 'homeserver/database/migrations')
  const migrations = readdirSync(folder).map((name) => ({
    name,
    sql: readFileSync(join(folder, name), 'utf8'),
  }))
  const owners = new Map(
    migrations.flatMap(({ sql }) => {
      const owner = /^-- owner: ([a-z-]+)/.exec(sql)?.[1] ?? ''
      const created = sql.matchAll(/create (?:unlogged )?table (?:if not exists )?([a-z_]+)/g)
      return [...created].map((match): [string, string] => [match[1] ?? '', owner])
    }),
  )

  it('are made by migrations that name their owner, a slice', () => {
    const wrong = migrations.filter(({ name, sql }) => {
      const owner = /^-- owner: ([a-z-]+)\n/.exec(sql)?.[1]
      return owner === undefined || !name.slice(5).startsWith(`${owner}-`)
    })
    expect(wrong.map(({ name }) => name)).toEqual([])
    expect(owners.size).toBeGreaterThan(10)
  })

  it('are named in SQL by their owner alone', () => {
    const offenders = product.flatMap((file) =>
      [...file.text.matchAll(/\b(?:from|join|into|update)\s+([a-z_]+)\b/g)]
        .map((match) => match[1] ?? '')
        .filter((table) => owners.has(table) && isInSql(file, table))
        .filter((table) => slice(file.path) !== owners.get(table))
        .map((table) => `${file.path} names ${table} of ${owners.get(table)}`),
    )
    expect([...new Set(offenders)]).toEqual([])
  })

  /** Words of comments and imports are no SQL: a table's name counts only inside a string or template. */
  function isInSql(file: SourceFile, table: string): boolean {
    const withoutComments = file.text.replace(/\/\/[^\n]*|\/\*[\s\S]*?\*\//g, '')
    const inStrings = [...withoutComments.matchAll(/`(?:\\.|[^`\\])*`|'(?:\\.|[^'\\\n])*'/g)]
    const sql = new RegExp(`\\b(?:from|join|into|update)\\s+${table}\\b`)
    return inStrings.some(([piece]) => sql.test(piece))
  }
})

describe('files', () => {
  it('have at most 400 lines, and tests at most 600', () => {
    const long = files
      .map(({ path, text }) => ({ path, lines: text.split('\n').length - 1 }))
      .filter(({ path, lines }) => lines > (isTest(path) ? 600 : 400))
    expect(long).toEqual([])
  })

  it('read clock, chance and environment only where that is their purpose', () => {
    // The wrapper and launcher of the database and the command lines live in real time.
    const places = /^homeserver\/(platform|database|bin)\/|^homeserver\/config\.ts$/
    const others = product.filter(({ path }) => !places.test(path))
    const pattern =
      /\bprocess\.env\b|\bDate\.now\(|\bnew Date\(\)|\bMath\.random\(|\bsetInterval\(/g
    expect(matches(others, pattern)).toEqual([])
  })

  it('cast only where a value gets its brand or an endpoint its types', () => {
    const places = ['spec/endpoint.ts', 'spec/ids.ts']
    const others = product.filter(({ path }) => !places.includes(path))
    const withoutImports = others.map((file) => ({
      ...file,
      code: file.code.replace(/^(?:import|export)\b[^;]*?\bfrom\b/gm, (piece) =>
        piece.replace(/[^\n]/g, ' '),
      ),
    }))
    expect(matches(withoutImports, /\bas (?!const\b)[A-Za-z{[(][\w.]*/g)).toEqual([])
  })

  it('name the issue of what is still to do', () => {
    const pattern = /\b(?:TODO|FIXME|XXX|HACK)\b(?!\(#\d+\))/g
    const own = 'conformance-tests/tidy.test.ts'
    expect(
      matches(
        files.filter(({ path }) => path !== own),
        pattern,
        'text',
      ),
    ).toEqual([])
  })

  it('write no messages past the logger', () => {
    const others = product.filter(({ path }) => !path.startsWith('homeserver/bin/'))
    expect(matches(others, /\bconsole\.\w+/g)).toEqual([])
  })
})
