import { DEFAULT_URL } from './options.ts'

/** The help. `docs/reference/conformance.md` says the same at more length. */
export const usage = `Checks a running Payonce against the table of what must hold for idempotent requests.

  npm run conformance -- --url URL --key KEY [options]

  --url URL                where Payonce runs                    [PAYONCE_URL, or ${DEFAULT_URL}]
  --key KEY                an API key that may read and write    [PAYONCE_API_KEY, or .payonce/api-key]
  --key-file FILE          a file that holds it; a key on the command line can be seen by others
  --second-key KEY         another key of the same tenant (row I8)
  --other-tenant-key KEY   a key of another tenant (rows I7, I11, I42, I43)
  --other-mode-key KEY     a live key where --key is a test key, or the reverse (row I10)
  --read-only-key KEY      a key that may only read (part of row I33)
  --second-url URL         another process of the same installation (rows I21, I22)
  --rows I1,I16            only these rows
  --settle-within SECONDS  how long a transfer may take to settle        [30]
  --json FILE              also writes the results there

It opens accounts of its own, in EUR, and moves a few minor units between them. Use a test tenant.
Exit code: 0 no row has failed; 1 some have; 2 the command is wrong, or the server cannot be reached.
`
