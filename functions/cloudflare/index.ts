// Public entry `millrace/cloudflare`: what the roles and functions need on Workers.

export { type R2Bucket, r2BlobStore } from './r2-blob-store.ts'
