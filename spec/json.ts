/** Any JSON value. */
export type Json = null | boolean | number | string | readonly Json[] | JsonObject
/** A JSON object; the shape in which every Matrix body and event arrives. */
export type JsonObject = { readonly [key: string]: Json }
