export const DEFAULT_URL = 'http://127.0.0.1:3000'

/** The help. `docs/reference/submit.md` says the same at more length. */
export const usage = `Sends the payment orders of a file to Payonce, each exactly once, and follows them until they settle.

  npm run submit -- FILE --currency EUR [options]

The file (read twice: first all of it is checked)
  --currency CODE            ISO 4217 code of all amounts in the file; required
  --order-id COLUMN          what makes an order unique           [order_id]
  --payer COLUMN             number of the payer's account        [payer]
  --payer-bank COLUMN        the payer's bank                     [payer_bank, may be absent]
  --receiver COLUMN          number of the receiver's account     [receiver]
  --receiver-bank COLUMN     the receiver's bank                  [receiver_bank, may be absent]
  --amount COLUMN            decimal amount                       [amount]
  --description COLUMN       text on the transfer                 [description, may be absent]
  --category COLUMN          kept in the transfer's metadata      [category, may be absent]
  --currency-column COLUMN   must agree with --currency           [currency, may be absent]
                             COLUMN is a name in the header, or a number that counts from 1
  --header, --no-header      whether the first row names the columns [yes, unless all columns are numbers]
  --delimiter CHAR           a character, or tab, comma, semicolon   [tab for .tsv, comma for .csv]
  --quote CHAR|none          what encloses fields                    [" ; none where tabs delimit]
  --decimal-separator CHAR   . or ,                                  [.]
  --encoding NAME            such as utf-8, windows-1250, utf-16le   [utf-8]
  --limit N                  only the first N orders
  --dry-run, --check         check the file, print what would be sent, send nothing

The orders
  --prefix TEXT              the idempotency key is PREFIX:ORDER-ID  [order]
  --payer-kind KIND          external or internal                    [external]
  --receiver-kind KIND       external or internal                    [internal]

The server
  --url URL                  where Payonce runs                      [${DEFAULT_URL}]
  --key KEY                  its API key; others can see it in the list of processes
  --key-file FILE            a file that holds the key               [PAYONCE_API_KEY, or .payonce/api-key]
  --concurrency N            orders being sent at a time, 1 to 256   [32]
  --give-up-after SECONDS    stop when so long nothing moves on      [60]

Exit code: 0 every order has succeeded, now or before; 1 some have not; 2 the command or the file is wrong.
Running it again is always safe: what was accepted is replayed and moves nothing.
`
