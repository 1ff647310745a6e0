import { type DestinationStream, pino } from 'pino'

/** A structured logger: fields first, then a short event name. Never pass tokens, keys or message contents. */
export interface Logger {
  debug(fields: object, message: string): void
  info(fields: object, message: string): void
  /** Someone should look at this. */
  warn(fields: object, message: string): void
  /** Something is broken. */
  error(fields: object, message: string): void
  child(fields: object): Logger
}

/** How much is logged; `silent` writes nothing. */
export const logLevels = ['debug', 'info', 'warn', 'error', 'silent'] as const
export type LogLevel = (typeof logLevels)[number]

/** Names whose values are never written, wherever they stand in a logged object (two levels deep). */
const secretFields = [
  'access_token',
  'accessToken',
  'authorization',
  'password',
  'refresh_token',
  'secret',
  'seed',
  'token',
]

/** Makes the process's logger: one JSON object a line, to standard output or `destination`. */
export function createLogger(options: {
  level: LogLevel
  destination?: DestinationStream
}): Logger {
  const settings = {
    level: options.level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
    redact: {
      paths: secretFields.flatMap((name) => [name, `*.${name}`, `*.*.${name}`]),
      censor: '[redacted]',
    },
    serializers: { error: pino.stdSerializers.err },
  }
  return options.destination === undefined ? pino(settings) : pino(settings, options.destination)
}

/** For tests and for code that was given no logger. */
export const silentLogger: Logger = {
  debug: () => {},
  info: () => {},
  warn: () => {},
  error: () => {},
  child: () => silentLogger,
}
