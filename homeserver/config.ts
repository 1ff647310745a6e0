import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse } from 'yaml'
import { z } from 'zod'
import { type Config, settingsSchema } from './settings.ts'

export type { Config } from './settings.ts'

/** Settings that stop the start; every line of the message names a setting, its value and what is allowed. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
}

/** A setting as `npm run config` prints it. */
interface SettingReport {
  /** Name in the YAML file. */
  readonly name: string
  readonly value: unknown
  /** `default`, the file's path, or the variable. */
  readonly origin: string
  readonly allowed: string
  readonly sentence: string
}

/** What loading answers. */
export interface LoadedConfig {
  readonly config: Config
  readonly report: readonly SettingReport[]
}

type Environment = Readonly<Record<string, string | undefined>>

const defaultFile = 'folkmoot.yaml'
/** With this prefix a misspelt variable is refused; without it we cannot know whom it is for. */
const prefix = 'FOLKMOOT_'

/**
 * Reads the settings: defaults, then the YAML file (`CONFIG_FILE`, or folkmoot.yaml in the working directory), then
 * the environment. Throws ConfigError that lists everything that is wrong.
 */
export function loadConfig(env: Environment): LoadedConfig {
  const problems: string[] = []
  const given = new Map<string, { value: unknown; origin: string }>()
  readFile(env, given, problems)
  readEnvironment(env, given, problems)
  const input = Object.fromEntries([...given].map(([key, { value }]) => [key, value]))
  const result = settingsSchema.safeParse(input)
  for (const issue of result.error?.issues ?? []) {
    const key = String(issue.path[0])
    const setting = settings.get(key)
    if (setting === undefined) continue
    const { value, origin } = given.get(key) ?? { value: undefined, origin: 'default' }
    const shown = setting.secret ? '(secret)' : JSON.stringify(value)
    problems.push(`${setting.name} = ${shown} (${origin}): allowed is ${setting.allowed}`)
  }
  if (result.success) problems.push(...mailProblems(result.data))
  if (problems.length > 0 || !result.success)
    throw new ConfigError([...new Set(problems)].join('\n'))
  const config = Object.freeze(result.data)
  return { config, report: reportOf(config, given) }
}

/** Mails have a sender, and links to an address that no request can choose. */
function mailProblems({ smtpUrl, mailFrom, publicBaseUrl }: Config): string[] {
  if (smtpUrl === '') return []
  const problems: string[] = []
  const isMailServer = URL.canParse(smtpUrl) && /^smtps?:$/.test(new URL(smtpUrl).protocol)
  if (!isMailServer) problems.push('smtp_url = (secret): allowed is smtp://… or smtps://…')
  if (mailFrom === '') problems.push('mail_from = "": with smtp_url it has to be a mail address')
  if (publicBaseUrl === '') problems.push('public_base_url = "": with smtp_url it has to be set')
  return problems
}

interface SettingFacts {
  readonly name: string
  readonly type: string
  readonly allowed: string
  readonly sentence: string
  readonly secret: boolean
}

const factsSchema = z.looseObject({
  type: z.string().optional(),
  description: z.string(),
  allowed: z.string().optional(),
  secret: z.boolean().optional(),
  enum: z.array(z.string()).optional(),
  minimum: z.number().optional(),
  maximum: z.number().optional(),
})
type Facts = z.output<typeof factsSchema>

/** Every setting by key, read off the schema. */
const settings: ReadonlyMap<string, SettingFacts> = new Map(
  Object.entries(settingsSchema.shape).map(([key, schema]) => {
    const facts = factsSchema.parse(z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }))
    return [
      key,
      {
        name: key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
        type: facts.type ?? 'string',
        allowed: facts.allowed ?? allowedOf(facts),
        sentence: facts.description,
        secret: facts.secret ?? false,
      },
    ]
  }),
)
const keyOfName = new Map([...settings].map(([key, { name }]) => [name, key]))

function allowedOf(facts: Facts): string {
  if (facts.enum !== undefined) return facts.enum.join(', ')
  if (facts.type === 'integer') return `a whole number from ${facts.minimum} to ${facts.maximum}`
  if (facts.type === 'boolean') return 'true or false'
  if (facts.type === 'array') return 'a list'
  return 'a text'
}

function readFile(
  env: Environment,
  given: Map<string, { value: unknown; origin: string }>,
  problems: string[],
): void {
  const { CONFIG_FILE: plain, [`${prefix}CONFIG_FILE`]: prefixed } = env
  const named = plain ?? prefixed
  const path = named ?? defaultFile
  if (named === undefined && !existsSync(path)) return
  let content: unknown
  try {
    content = parse(readFileSync(path, 'utf8'))
  } catch (error) {
    problems.push(`CONFIG_FILE = ${path}: ${error instanceof Error ? error.message : error}`)
    return
  }
  const record = z.record(z.string(), z.unknown()).nullable().safeParse(content)
  if (!record.success) {
    problems.push(
      `CONFIG_FILE = ${path}: allowed is a list of lines like "server_name: example.org"`,
    )
    return
  }
  for (const [name, value] of Object.entries(record.data ?? {})) {
    const key = keyOfName.get(name)
    if (key === undefined) problems.push(unknownName(name, value, path, [...keyOfName.keys()]))
    // A name without a value is the default.
    else if (value !== null) given.set(key, { value, origin: path })
  }
}

function readEnvironment(
  env: Environment,
  given: Map<string, { value: unknown; origin: string }>,
  problems: string[],
): void {
  const known = new Set([`${prefix}CONFIG_FILE`])
  for (const [key, setting] of settings) {
    const plain = setting.name.toUpperCase()
    const names = [plain, prefix + plain]
    if (setting.secret) names.push(`${plain}_FILE`, `${prefix}${plain}_FILE`)
    for (const name of names) {
      known.add(name)
      const text = env[name]
      if (text === undefined) continue
      const value =
        name.endsWith('_FILE') && setting.secret ? readSecret(name, text, problems) : text
      given.set(key, { value: fromText(value, setting.type), origin: name })
    }
  }
  for (const [name, value] of Object.entries(env)) {
    if (name.startsWith(prefix) && !known.has(name)) {
      problems.push(unknownName(name, value, 'environment', [...known]))
    }
  }
}

function readSecret(name: string, path: string, problems: string[]): string {
  try {
    return readFileSync(path, 'utf8').trim()
  } catch (error) {
    problems.push(`${name} = ${path}: ${error instanceof Error ? error.message : error}`)
    return ''
  }
}

/** What cannot be converted stays text, and the schema refuses it. */
function fromText(text: string, type: string): unknown {
  if (type === 'integer') return /^\d+$/.test(text) ? Number(text) : text
  if (type === 'boolean') {
    if (/^(true|on|yes|1)$/i.test(text)) return true
    return /^(false|off|no|0)$/i.test(text) ? false : text
  }
  if (type === 'array') {
    return text
      .split(',')
      .map((part) => part.trim())
      .filter((part) => part !== '')
  }
  return text
}

function unknownName(name: string, value: unknown, origin: string, names: string[]): string {
  const near = names.filter((known) => distance(known, name) <= 3)[0]
  const hint = near === undefined ? 'npm run config lists the settings' : `did you mean ${near}?`
  return `${name} = ${JSON.stringify(value)} (${origin}): there is no such setting, ${hint}`
}

/** Levenshtein distance of two short names. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (const [i, letter] of [...a].entries()) {
    const next = [i + 1]
    for (const [j, other] of [...b].entries()) {
      const swap = (row[j] ?? 0) + (letter === other ? 0 : 1)
      next.push(Math.min(swap, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1))
    }
    row = next
  }
  return row[b.length] ?? 0
}

function reportOf(config: Config, given: ReadonlyMap<string, { origin: string }>): SettingReport[] {
  return Object.entries(config).map(([key, value]) => {
    const setting = settings.get(key)
    return {
      name: setting?.name ?? key,
      value: setting?.secret && String(value) !== '' ? '(secret)' : value,
      origin: given.get(key)?.origin ?? 'default',
      allowed: setting?.allowed ?? '',
      sentence: setting?.sentence ?? '',
    }
  })
}

/** Where uploaded files lie. */
export function mediaFolder(config: Pick<Config, 'mediaDir' | 'dataDir'>): string {
  return config.mediaDir || join(config.dataDir, 'media')
}
