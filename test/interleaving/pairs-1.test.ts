// Every pair of verbs, in every order of their begin, statement and commit: one half.

import { testPairs } from './pairs.ts'

testPairs(0, 2)
