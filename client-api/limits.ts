/** What one request may take of the server. Times and headers are limited where the listener is made. */
export const limits = {
  /** Characters of a path with its query. */
  urlCharsMax: 32_768,
  /** Parts of a path. */
  segmentsMax: 20,
  /** Names and values of a query string. */
  queryPairsMax: 200,
} as const
