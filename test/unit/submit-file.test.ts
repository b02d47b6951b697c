import { appendFile, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { checkFile, createAccountCount, fileVersion } from '../../apps/cli/src/submit/check.ts'
import { readOptions } from '../../apps/cli/src/submit/options.ts'
import { readOrders, type OrderFile } from '../../apps/cli/src/submit/orders.ts'
import { readRows } from '../../apps/cli/src/submit/rows.ts'

let folder: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'payonce-submit-'))
})

afterAll(async () => {
  await rm(folder, { recursive: true })
})

const header = 'order_id,payer,payer_bank,receiver,receiver_bank,amount,description,category'

describe('rows', () => {
  it('carry the line on which they begin, whatever stands between them', async () => {
    const path = await file('rows.csv', '\uFEFFa,b\r\n1,"x\r\ny"\r\n\r\n3,"4"\n5,6')
    expect(await all(readRows(path, { delimiter: ',', quote: '"', encoding: 'utf-8' }))).toEqual([
      { line: 1, fields: ['a', 'b'] },
      { line: 2, fields: ['1', 'x\r\ny'] },
      { line: 5, fields: ['3', '4'] },
      { line: 6, fields: ['5', '6'] },
    ])
  })

  it('may be quoted otherwise, and the other quote stays what it is', async () => {
    const path = await file('quoted.csv', `a,'He said "hi"'\nb,'it''s'\n`)
    const rows = await all(readRows(path, { delimiter: ',', quote: "'", encoding: 'utf-8' }))
    expect(rows.map(({ fields }) => fields)).toEqual([
      ['a', 'He said "hi"'],
      ['b', "it's"],
    ])
  })

  it('are trimmed, and a quote is a plain character where there is no quoting', async () => {
    const path = await file('rows.tsv', '1\t 5" disk \t  \n2\t"x"\ty\n')
    expect(await all(readRows(path, { delimiter: '\t', quote: null, encoding: 'utf-8' }))).toEqual([
      { line: 1, fields: ['1', '5" disk', ''] },
      { line: 2, fields: ['2', '"x"', 'y'] },
    ])
  })

  it('before a quote that never ends are kept, and the error names where it began', async () => {
    const path = await file('open.csv', 'a,b\n1,2\n3,"4\n5,6\n7,8\n')
    const seen: number[] = []
    const reading = async () => {
      for await (const row of readRows(path, { delimiter: ',', quote: '"', encoding: 'utf-8' })) {
        seen.push(row.line)
      }
    }
    await expect(reading()).rejects.toMatchObject({ name: 'FileError', line: 3 })
    expect(seen).toEqual([1, 2])
  })

  it('longer than any order end the reading instead of filling the memory', async () => {
    const path = await file('long.csv', `a,b\n1,"${'x'.repeat(300_000)}`)
    const rows = all(readRows(path, { delimiter: ',', quote: '"', encoding: 'utf-8' }))
    await expect(rows).rejects.toMatchObject({ line: 2, message: /longer than 65536/ })
  })

  it('are read in other encodings', async () => {
    const path = join(folder, 'latin.csv')
    await writeFile(path, Buffer.from('1,Müller\n', 'latin1'))
    const rows = await all(readRows(path, { delimiter: ',', quote: '"', encoding: 'windows-1252' }))
    expect(rows).toEqual([{ line: 1, fields: ['1', 'Müller'] }])
  })
})

describe('orders', () => {
  it('are read by the default names of the columns, in any order, with others left alone', async () => {
    const path = await file(
      'names.csv',
      'note,amount,receiver,order_id,payer\nx,12.50,87144583,29401,1\n',
    )
    expect(await all(readOrders(orderFile(path)))).toEqual([
      {
        line: 2,
        order: {
          orderId: '29401',
          payer: { role: 'payer', bank: '', number: '1' },
          receiver: { role: 'receiver', bank: '', number: '87144583' },
          amount: 1250n,
          description: '',
          category: '',
        },
      },
    ])
  })

  it('are read by numbers from a file without a header, blanks being nothing', async () => {
    const path = await file(
      'bank.tsv',
      '29401\t1\tYZ\t87144583\t245.20\tHH\n29405\t3\tCD\t24485939\t.70\t  \n',
    )
    const orders = await all(readOrders(orderFile(path, ...bankColumns)))
    expect(orders.map(({ order }) => [order?.amount, order?.category, order?.receiver])).toEqual([
      [24520n, 'HH', { role: 'receiver', bank: 'YZ', number: '87144583' }],
      [70n, '', { role: 'receiver', bank: 'CD', number: '24485939' }],
    ])
  })

  it('end at the limit', async () => {
    const path = await file('limit.csv', `${header}\n${rowOf(1)}${rowOf(2)}${rowOf(3)}`)
    expect(await all(readOrders(orderFile(path, '--limit', '2')))).toHaveLength(2)
  })
})

describe('the layout of a file is refused', () => {
  it.each([
    [
      'a column that is needed is not there',
      'id,payer,receiver,amount\n',
      [],
      /named "order_id".*"id"/,
    ],
    [
      'a column that was asked for is not there',
      `${header}\n`,
      ['--category', 'kind'],
      /named "kind"/,
    ],
    ['a name stands twice', `${header},amount\n`, [], /two columns are named "amount"/],
    ['a number is beyond the columns', '1,2,3,4\n', [...numbers, '--amount', '9'], /9.*has 4/],
    [
      'the header is an order',
      '1,2,3,4.00\n',
      [...numbers, '--header'],
      /reads as an order.*--no-header/,
    ],
  ])('where %s', async (_, text, args, problem) => {
    const path = await file('layout.csv', text)
    const { problems } = await checkFile(orderFile(path, ...args))
    expect(problems.map((found) => found.problem).join('\n')).toMatch(problem)
  })

  it('where columns have names and there is no header', async () => {
    const path = await file('bare.csv', '1,2,3,4.00\n')
    const reading = checkFile(orderFile(path, '--no-header'))
    await expect(reading).rejects.toThrow(/needs --order-id with the number/)
  })

  it('where a header turns up in a file that is read by numbers', async () => {
    const path = await file('surprise.csv', 'id,payer,receiver,amount\n1,2,3,4.00\n')
    const { problems } = await checkFile(orderFile(path, ...numbers))
    expect(problems).toEqual([{ line: 1, problem: expect.stringContaining('"amount"') }])
  })
})

describe('a check', () => {
  it('counts the orders, the sum and the accounts', async () => {
    const path = await file('good.csv', `${header}\n${rowOf(1)}${rowOf(2)}`)
    const accounts = createAccountCount('EUR')
    const checked = await checkFile(orderFile(path), { onOrder: (order) => accounts.add(order) })
    expect(checked).toMatchObject({ orders: 2, total: 300n, problemCount: 0 })
    expect(accounts.read()).toEqual({ payers: 1, receivers: 2, isComplete: true })
  })

  it.each([
    ['no order id', ',1,,2,,5.00,,', /order id is empty/],
    ['no payer', '1,,,2,,5.00,,', /payer is empty/],
    ['no receiver', '1,1,,,,5.00,,', /receiver is empty/],
    ['a column too few', '1,1,,2,,5.00,', /has 7 columns.*has 8/],
    ['a column too many', '1,1,,2,,5.00,,,', /has 9 columns/],
    ['a control character', '1,1,,2,,5.00,a\u0007b,', /description holds a control/],
    ['a line break in an id', '"1\n1",1,,2,,5.00,,', /order id holds .* a line break/],
    ['text that turns its direction', '1,1,,2,,5.00,a\u202Eb,', /description holds a control/],
    ['a description of 501 characters', `1,1,,2,,5.00,${'x'.repeat(501)},`, /501 characters/],
    ['an order id too long for a key', `${'é'.repeat(50)},1,,2,,5.00,,`, /306 characters/],
    [
      'an account too long for a reference',
      `1,${'x'.repeat(190)},,2,,5.00,,`,
      /payer's bank and number/,
    ],
    ['more decimals than the currency', '1,1,,2,,5.005,,', /decimal places/],
  ])('names the line of a row with %s', async (_, row, problem) => {
    const path = await file('bad.csv', `${header}\n${rowOf(7)}${row}\n${rowOf(8)}`)
    const { problems, problemCount } = await checkFile(orderFile(path))
    expect(problemCount).toBe(1)
    expect(problems[0]).toEqual({ line: 3, problem: expect.stringMatching(problem) })
  })

  it('takes a description of several lines', async () => {
    const path = await file('lines.csv', `${header}\n1,1,,2,,5.00,"a\tb\r\nc",\n`)
    expect(await checkFile(orderFile(path))).toMatchObject({ problemCount: 0 })
  })

  it('takes 500 characters of four bytes each', async () => {
    const path = await file('wide.csv', `${header}\n1,1,,2,,5.00,${'😀'.repeat(500)},\n`)
    expect(await checkFile(orderFile(path))).toMatchObject({ problemCount: 0 })
  })

  it('names bytes that are no text in the encoding', async () => {
    const path = join(folder, 'bytes.csv')
    await writeFile(path, Buffer.from(`${header}\n1,1,,2,,5.00,Müller,\n`, 'latin1'))
    const { problems } = await checkFile(orderFile(path))
    expect(problems).toEqual([{ line: 2, problem: expect.stringContaining('--encoding') }])
  })

  it('refuses a row in another currency than the run', async () => {
    const path = await file(
      'mixed.csv',
      'order_id,payer,receiver,amount,currency\n1,1,2,5,EUR\n2,1,2,5,USD\n',
    )
    const { problems } = await checkFile(orderFile(path))
    expect(problems).toEqual([{ line: 3, problem: expect.stringContaining('"USD"') }])
  })

  it('finds every problem, shows the first twenty and counts all', async () => {
    const path = await file('many.csv', `${header}\n${',,,,,,,\n'.repeat(30)}`)
    const checked = await checkFile(orderFile(path))
    expect(checked.problems).toHaveLength(20)
    expect(checked.problemCount).toBe(30)
  })

  it('refuses a file without orders, a folder, and a file that is not there', async () => {
    const path = await file('none.csv', `${header}\n`)
    const { problems } = await checkFile(orderFile(path))
    expect(problems[0]?.problem).toMatch(/no orders/)
    await expect(checkFile({ ...orderFile(path), path: folder })).rejects.toThrow(/plain file/)
    await expect(checkFile(orderFile(join(folder, 'x.csv')))).rejects.toThrow(/ENOENT/)
  })

  it('knows a file that was written to since', async () => {
    const path = await file('growing.csv', `${header}\n${rowOf(1)}`)
    const { version } = await checkFile(orderFile(path))
    expect(await fileVersion(path)).toBe(version)
    await appendFile(path, rowOf(2))
    expect(await fileVersion(path)).not.toBe(version)
  })
})

// 2 and 3: the windows end in the middle of the repetitions, so that they are found across windows.
describe.each([
  { maxOrderIds: undefined },
  { maxOrderIds: 3 },
  { maxOrderIds: 2 },
  { maxOrderIds: 1 },
])('an order id that stands twice ($maxOrderIds at a time)', ({ maxOrderIds }) => {
  const options = maxOrderIds === undefined ? {} : { maxOrderIds }

  it('with the same content is one order', async () => {
    const again = '1,1,,1,,1.0,,\n' // the amount written another way
    const text = [header, '\n', rowOf(1), rowOf(2), rowOf(3), again, rowOf(4), again, rowOf(3)]
    const path = await file('twice.csv', text.join(''))
    const checked = await checkFile(orderFile(path), options)
    expect(checked).toMatchObject({ orders: 4, total: 1000n, problemCount: 0 })
    expect([...Array(10).keys()].filter((line) => checked.repeated.has(line))).toEqual([5, 7, 8])
  })

  it('with other content is a problem, once for each row', async () => {
    const text = [
      header,
      '\n',
      rowOf(1),
      rowOf(2),
      rowOf(3),
      rowOf(4),
      '1,1,,9,,1.00,,\n',
      '4,1,,4,,4.01,,\n',
      '1,1,,9,,1.00,,\n',
    ]
    const path = await file('clash.csv', text.join(''))
    const { problems } = await checkFile(orderFile(path), options)
    expect(new Set(problems.map(({ line }) => line))).toEqual(new Set([6, 7, 8]))
    expect(problems).toHaveLength(3)
    expect(problems.map(({ problem }) => problem)).toContainEqual(
      expect.stringContaining('"4" already stands on line 5 with other content'),
    )
  })
})

// 60 s: a second on an idle machine, and more than ten on one where everything else runs too.
it('one pass tells a hundred thousand order ids apart', { timeout: 60_000 }, async () => {
  const rows = Array.from({ length: 100_000 }, (_, index) => `${index + 1}\t1\tYZ\t2\t0.01\tHH\n`)
  const path = await file('big.tsv', `${rows.join('')}77\t1\tYZ\t2\t0.02\tHH\n`)
  const checked = await checkFile(orderFile(path, ...bankColumns))
  expect(checked.problems.map(({ line }) => line)).toEqual([100_001])
})

const numbers = ['--order-id', '1', '--payer', '2', '--receiver', '3', '--amount', '4'] as const
const bankColumns = [
  '--order-id=1',
  '--payer=2',
  '--receiver-bank=3',
  '--receiver=4',
  '--amount=5',
  '--category=6',
] as const

/** A valid order of the default columns, that moves N.00. */
function rowOf(id: number): string {
  return `${id},1,,${id},,${id}.00,,\n`
}

async function file(name: string, text: string): Promise<string> {
  const path = join(folder, name)
  await writeFile(path, text)
  return path
}

function orderFile(path: string, ...args: string[]): OrderFile {
  const options = readOptions([path, '--currency', 'EUR', ...args])
  if (options.help) throw new Error('no help was asked for')
  return options.file
}

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = []
  for await (const item of items) found.push(item)
  return found
}
