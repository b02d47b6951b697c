import { readFileSync, readdirSync } from 'node:fs'
import { join, relative, resolve, sep } from 'node:path'

export type Source = {
  /** From the root of the repository, with slashes. */
  path: string
  /** The text without its comments, which may speak of anything. */
  code: string
}

export const repositoryRoot = resolve(import.meta.dirname, '../..')

/** Every source of the product: what runs in production, not its tests or tools. */
export function readSources(): Source[] {
  return ['apps', 'packages'].flatMap((workspaces) =>
    readdirSync(join(repositoryRoot, workspaces)).flatMap((name) =>
      readFolder(join(repositoryRoot, workspaces, name, 'src')),
    ),
  )
}

function readFolder(folder: string): Source[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => join(folder, name))
    .map((file) => ({
      path: relative(repositoryRoot, file).split(sep).join('/'),
      code: withoutComments(readFileSync(file, 'utf8')),
    }))
}

/** Comments on lines of their own and block comments: a line's end may be part of a text with `//`. */
export function withoutComments(text: string): string {
  return text.replaceAll(/\/\*[^]*?\*\//g, '').replaceAll(/^\s*\/\/.*$/gm, '')
}

/** The texts in back quotes, where SQL stands. What is filled in is left out. */
export function templatesOf({ code }: Source): string[] {
  return [...code.matchAll(/`(?:[^`\\]|\\[^])*`/g)].map(([template]) => template)
}

export type Import = { specifier: string; isRelative: boolean }

export function importsOf({ code }: Source): Import[] {
  const forms = /(?:\bfrom\s*|\bimport\s*\(?\s*)(['"])([^'"\n]+)\1/g
  return [...code.matchAll(forms)].map(([, , specifier = '']) => ({
    specifier,
    isRelative: specifier.startsWith('.'),
  }))
}
