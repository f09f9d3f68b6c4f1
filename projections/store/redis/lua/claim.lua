-- Take due profiles of one bucket for a while.
--
-- KEYS 1  state (hash)   2  due (sorted set)   3  leases (sorted set)   4  tokens (hash)   5  force (hash)
--      6  what this claim took (set; ends with the lease)
-- ARGV 1  token   2  most profiles to take   3  lease, milliseconds
--      4  how far ahead a time may lie, milliseconds: one beyond is from before the clock was set back, and is over
-- Returns member, flags, member, flags, ..: flags 1 forced, 2 taken over (a claim that ran out). Nothing while the
-- bucket recovers. `force` holds from when a profile's next claim is forced; once it is, only the flags say so.
-- A call that arrives twice returns what it took, and takes nothing more.
local state, due, leases, tokens, force, taken = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local reply = {}
if redis.call('EXISTS', taken) == 1 then
  for _, item in ipairs(redis.call('SMEMBERS', taken)) do
    reply[#reply + 1] = string.sub(item, 2)
    reply[#reply + 1] = tonumber(string.sub(item, 1, 1))
  end
  return reply
end
if redis.call('HEXISTS', state, 'healing') == 1 then return reply end
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local expiry = string.format('%.0f', now + tonumber(ARGV[3]))
local left = tonumber(ARGV[2])
local far = now + tonumber(ARGV[4])

local function elapsed(time) return time <= now or time > far end

local function past(key)
  local found = redis.call('ZRANGEBYSCORE', key, '-inf', string.format('%.0f', now), 'LIMIT', 0, left)
  if #found > 0 then return found end
  return redis.call('ZRANGEBYSCORE', key, string.format('(%.0f', far), '+inf', 'LIMIT', 0, left)
end

local function take(member, expired)
  local from = redis.call('HGET', force, member)
  local flags = 0
  if expired then
    flags = 2
  elseif from and elapsed(tonumber(from) or 0) then -- older versions wrote a word here: at once
    flags = 1
  end
  if flags > 0 then redis.call('HDEL', force, member) end
  redis.call('HSET', tokens, member, ARGV[1])
  redis.call('ZADD', leases, expiry, member)
  redis.call('ZREM', due, member)
  redis.call('SADD', taken, flags .. member)
  reply[#reply + 1] = member
  reply[#reply + 1] = flags
  left = left - 1
end

for _, member in ipairs(past(leases)) do take(member, true) end
if left > 0 then
  for _, member in ipairs(past(due)) do
    local lease = redis.call('ZSCORE', leases, member)
    if lease then
      redis.call('ZADD', due, lease, member)
    else
      take(member, false)
    end
  end
end
if #reply > 0 then redis.call('PEXPIRE', taken, ARGV[3]) end
return reply
