/** What one client may take of the server. */
export const limits = {
  /** Time for the headers of a request to arrive. */
  headersTimeoutMs: 10_000,
  /** Time for a whole request to arrive. */
  requestTimeoutMs: 120_000,
  /** Headers of a request. */
  headersMax: 100,
  /** Bytes of a request's line and headers together. */
  headerBytesMax: 32_768,
  /** An idle connection is kept for the next request; longer than the proxies in front keep theirs. */
  keepAliveMs: 75_000,
  /** Characters of a path with its query. */
  urlCharsMax: 32_768,
  /** Parts of a path. */
  segmentsMax: 20,
  /** Names and values of a query string. */
  queryPairsMax: 200,
} as const
