import { expect, test } from '@jest/globals'
import { parseRedisUrl } from './configRedis.ts'

test.each([
  ['redis://127.0.0.1', { address: { host: '127.0.0.1', port: 6379 }, tls: false }],
  ['redis://127.0.0.1/', { address: { host: '127.0.0.1', port: 6379 }, tls: false }],
  [
    'rediss://redis.example.org:6380/3',
    { address: { host: 'redis.example.org', port: 6380 }, tls: true, database: 3 },
  ],
  ['redis://[::1]:7', { address: { host: '::1', port: 7 }, tls: false }],
  ['redis://:p%40ss%3A@h', { address: { host: 'h', port: 6379 }, tls: false, password: 'p@ss:' }],
  [
    'redis://user:a:b@h',
    { address: { host: 'h', port: 6379 }, tls: false, username: 'user', password: 'a:b' },
  ],
  ['unix:/run/redis.sock', { address: { path: '/run/redis.sock' }, tls: false }],
])('reads %s', (url, expected) => {
  expect(parseRedisUrl(url)).toEqual(expected)
})

test.each([
  'http://127.0.0.1',
  'redis:127.0.0.1',
  'redis://',
  'redis://h:70000',
  'redis://h/x',
  'redis://h/9999999',
  'redis://a@b@c',
  'redis://:%zz@h',
  'redis://h?x=1',
  'redis://1.2.3',
  'unix:relative',
])('is no URL of Redis: %s', (url) => {
  expect(parseRedisUrl(url)).toBeUndefined()
})
