// Each runs as a whole, on one node: KEYS are what is known of a message and who works on it, in one slot. ARGV[1] is
// echoed: who gets an answer with another one knows that it belongs to another question. The time is Redis' own, which
// all instances share. EVAL, not EVALSHA: a Redis that was restarted, or failed over, knows no script.

/**
 * Takes recipients for an attempt unless another one has some of them. ARGV: echo, token, milliseconds, recipients.
 * Answers echo, the milliseconds for which another one has them (0: they are ours), then for each recipient what was
 * done and what is reserved.
 */
export const BEGIN_SCRIPT = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local held = 0
for at = 4, #ARGV do
  local turn = redis.call('HGET', KEYS[2], ARGV[at])
  if turn then
    local token, till = string.match(turn, '^(%x+) (%d+)$')
    if till and token ~= ARGV[2] and tonumber(till) > now then held = math.max(held, tonumber(till) - now) end
  end
end
if held == 0 then
  local turns = {}
  for at = 4, #ARGV do
    turns[#turns + 1] = ARGV[at]
    turns[#turns + 1] = ARGV[2] .. ' ' .. string.format('%.0f', now + ARGV[3])
  end
  redis.call('HSET', KEYS[2], unpack(turns))
  if redis.call('PTTL', KEYS[2]) < tonumber(ARGV[3]) then redis.call('PEXPIRE', KEYS[2], ARGV[3]) end
end
local fields = {}
for at = 4, #ARGV do
  fields[#fields + 1] = 'd' .. ARGV[at]
  fields[#fields + 1] = 'i' .. ARGV[at]
end
local answer = redis.call('HMGET', KEYS[1], unpack(fields))
table.insert(answer, 1, held)
table.insert(answer, 1, ARGV[1])
return answer`

/** Remembers, and when it is to be forgotten in one step. ARGV: echo, milliseconds, then field and value in turn. */
export const RECORD_SCRIPT = `
redis.call('HSET', KEYS[1], unpack(ARGV, 3))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return {ARGV[1]}`

/** Gives recipients back that are still the attempt's. ARGV: echo, token, recipients. */
export const END_SCRIPT = `
for at = 3, #ARGV do
  local turn = redis.call('HGET', KEYS[2], ARGV[at])
  if turn and string.sub(turn, 1, #ARGV[2] + 1) == ARGV[2] .. ' ' then redis.call('HDEL', KEYS[2], ARGV[at]) end
end
return {ARGV[1]}`
