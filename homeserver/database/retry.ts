/**
 * Which statements may be run again after a lost connection: those that only read. A `select` may call a function
 * that writes, so a text counts as reading only if every function that it calls is in this list.
 */
const readingFunctions = new Set([
  ...['any', 'all', 'array', 'as', 'and', 'or', 'not', 'in', 'on', 'exists', 'values', 'using'],
  ...['from', 'where', 'join', 'lateral', 'over', 'filter', 'by', 'when', 'then', 'else', 'union'],
  ...['select', 'distinct', 'having', 'limit', 'offset', 'except', 'intersect', 'materialized'],
  ...['count', 'max', 'min', 'sum', 'avg', 'coalesce', 'greatest', 'least', 'nullif', 'cast'],
  ...['array_agg', 'string_agg', 'bool_or', 'bool_and', 'unnest', 'array_length', 'cardinality'],
  ...['json_agg', 'jsonb_agg', 'json_build_object', 'jsonb_build_object', 'jsonb_object_agg'],
  ...['json_object_agg', 'jsonb_array_elements', 'jsonb_to_recordset', 'jsonb_each', 'to_jsonb'],
  ...['row_number', 'rank', 'lag', 'lead', 'first_value', 'last_value', 'generate_series'],
  ...['length', 'lower', 'upper', 'substr', 'substring', 'split_part', 'concat', 'octet_length'],
  ...['now', 'extract', 'date_trunc', 'pg_backend_pid', 'pg_database_size', 'with', 'recursive'],
])

const known = new Map<string, boolean>()
const knownMax = 5_000

/** True when running `text` twice does no more than running it once. */
export function onlyReads(text: string): boolean {
  const found = known.get(text)
  if (found !== undefined) return found
  const verdict = decide(text)
  if (known.size < knownMax) known.set(text, verdict)
  return verdict
}

function decide(text: string): boolean {
  const sql = text.replace(/'[^']*'/g, "''").toLowerCase()
  if (!/^\s*select\b/.test(sql)) return false
  if (/\bfor\s+(update|share|no\s+key|key)\b|\binto\b|\bwith\b|;/.test(sql)) return false
  for (const call of sql.matchAll(/([a-z_][a-z0-9_.]*)\s*\(/g)) {
    if (!readingFunctions.has(call[1] ?? '')) return false
  }
  return true
}
