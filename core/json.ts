// JSON as a type: what payloads, results and metadata are made of.

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json | undefined }
