/** Results as a Markdown table: medians over the rounds, ranges, and ratios to the last server named. */
import { type Measurement, median } from './measure.ts'

/** Renders what was measured; a ratio above 1 is better than the reference. */
export function renderTable(results: readonly Measurement[], servers: readonly string[]): string {
  const reference = servers.at(-1) ?? ''
  const others = servers.slice(0, -1)
  const names = [
    ...new Set(results.filter(({ server }) => server !== 'bare').map(({ name }) => name)),
  ]
  const ratios = others.map((server) => `${server} : ${reference}`)
  const rows = names.map((name) => {
    const found = (server: string) =>
      results.filter((one) => one.server === server && one.name === name)
    const cells = servers.map((server) => cell(found(server)))
    return [
      label(name, found(reference)),
      ...cells,
      ...others.map((server) => ratio(found(server), found(reference))),
    ]
  })
  const bare = results
    .filter(({ server }) => server === 'bare')
    .map(({ name, value, unit }) => [name, `${number(value)} ${unit}`])
  return [
    table([['', ...servers, ...ratios], ...rows]),
    bare.length > 0 ? table([['bare limits', ''], ...bare]) : '',
    failures(results),
  ].join('\n')
}

function label(name: string, found: readonly Measurement[]): string {
  const unit = found[0]?.unit
  return unit ? `${name}, ${unit}` : name
}

function values(found: readonly Measurement[]): number[] {
  return found.flatMap(({ value }) => (value === undefined || Number.isNaN(value) ? [] : [value]))
}

function cell(found: readonly Measurement[]): string {
  const all = values(found)
  if (all.length === 0) return '–'
  const range = all.length > 1 ? ` [${number(Math.min(...all))}..${number(Math.max(...all))}]` : ''
  const samples = Math.min(...found.map((one) => one.samples ?? Number.POSITIVE_INFINITY))
  return `${number(median(all))}${range}${samples < 1_000 ? ` (n=${samples})` : ''}`
}

function ratio(own: readonly Measurement[], reference: readonly Measurement[]): string {
  const better = own[0]?.better
  const [a, b] = [values(own), values(reference)]
  if (better === 'info' || a.length === 0 || b.length === 0) return '–'
  const quotient = better === 'higher' ? median(a) / median(b) : median(b) / median(a)
  return `${number(quotient)} ×`
}

function number(value: number | undefined): string {
  if (value === undefined || !Number.isFinite(value)) return '–'
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3)
}

function table(rows: readonly (readonly string[])[]): string {
  const [head = [], ...body] = rows
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`
  return `${[line(head), line(head.map(() => '---')), ...body.map(line)].join('\n')}\n`
}

function failures(results: readonly Measurement[]): string {
  const failed = results.filter(({ failure }) => failure !== undefined)
  if (failed.length === 0) return ''
  return `failed:\n${failed.map(({ server, name, failure }) => `- ${server}, ${name}: ${failure}`).join('\n')}\n`
}
