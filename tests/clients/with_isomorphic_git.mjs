// git by isomorphic-git, in the repository of the working folder: with_isomorphic_git.mjs VERB URL [ARGUMENT...]
//
// The verbs print what the server has to say; a refusal ends the program with 1.
import fs from 'node:fs'
import { createRequire } from 'node:module'

const [modules, verb, address, ...rest] = process.argv.slice(2)
const require = createRequire(`${modules}/package.json`)
const git = require('isomorphic-git')
const http = require('isomorphic-git/http/node')

const parts = new URL(verb === 'version' ? 'http://none/' : address)
const credentials = { username: parts.username, password: parts.password }
parts.username = parts.password = ''
// Credentials that were wrong once are wrong the next time too.
const with_ = { fs, http, url: parts.href, onAuth: () => credentials, onAuthFailure: () => ({ cancel: true }) }
const onMessage = (said) => process.stdout.write(said)

async function push(...refspecs) {
  // One ref at a time is all that it can.
  for (const refspec of refspecs) {
    const [from, to] = refspec.split(':')
    await git.push({ ...with_, dir: '.', ref: from || 'HEAD', remoteRef: to, delete: !from, onMessage })
  }
}

const verbs = {
  push,
  clone: (dir, depth) => git.clone({ ...with_, dir, depth: depth && Number(depth), singleBranch: false }),
  fetch: () => git.fetch({ ...with_, dir: '.', remote: 'origin', tags: true }),
  delete: (branch) => push(`:refs/heads/${branch}`),
  version: () => console.log(git.version()),
  'ls-remote': async () => {
    for (const { oid, ref } of await git.listServerRefs({ ...with_, protocolVersion: 2 })) console.log(`${oid}\t${ref}`)
  },
}

try {
  await verbs[verb](...rest)
} catch (error) {
  for (const [name, { ok, error: why }] of Object.entries(error.data?.result?.refs ?? {})) {
    if (!ok) console.log(`refused ${name}: ${why}`)
  }
  console.log(`${error.name}: ${error.message}`)
  process.exitCode = 1
}
