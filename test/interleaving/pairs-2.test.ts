// Every pair of verbs, in every order of their begin, statement and commit: the other half.

import { testPairs } from './pairs.ts'

testPairs(1, 2)
