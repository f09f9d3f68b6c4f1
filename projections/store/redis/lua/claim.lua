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
local CHUNK = 400
local left = tonumber(ARGV[2])
local far = now + tonumber(ARGV[4])

local function elapsed(time) return time <= now or time > far end

local function past(key)
  local most = math.min(left, CHUNK)
  local found = redis.call('ZRANGEBYSCORE', key, '-inf', string.format('%.0f', now), 'LIMIT', 0, most)
  if #found > 0 then return found end
  return redis.call('ZRANGEBYSCORE', key, string.format('(%.0f', far), '+inf', 'LIMIT', 0, most)
end

-- All of them in one command each: calling one costs more than what it does.
local function take(members, expired)
  if #members == 0 then return end
  local forced = redis.call('HMGET', force, unpack(members))
  local over, held, leased, items = {}, {}, {}, {}
  for i, member in ipairs(members) do
    local flags = 0
    if expired then
      flags = 2
    elseif forced[i] and elapsed(tonumber(forced[i]) or 0) then -- older versions wrote a word here: at once
      flags = 1
    end
    if flags > 0 then over[#over + 1] = member end
    held[2 * i - 1], held[2 * i] = member, ARGV[1]
    leased[2 * i - 1], leased[2 * i] = expiry, member
    items[i] = flags .. member
    reply[#reply + 1] = member
    reply[#reply + 1] = flags
  end
  if #over > 0 then redis.call('HDEL', force, unpack(over)) end
  redis.call('HSET', tokens, unpack(held))
  redis.call('ZADD', leases, unpack(leased))
  redis.call('ZREM', due, unpack(members))
  redis.call('SADD', taken, unpack(items))
  left = left - #members
end

local function take_due(members)
  local free, postponed = {}, {}
  for _, member in ipairs(members) do
    local lease = redis.call('ZSCORE', leases, member)
    if lease then
      postponed[#postponed + 1] = lease
      postponed[#postponed + 1] = member
    else
      free[#free + 1] = member
    end
  end
  if #postponed > 0 then redis.call('ZADD', due, unpack(postponed)) end
  take(free, false)
end

-- Until there are no more: what was just claimed must not be found again, however short its lease.
local function all(key, claim)
  local most, found
  repeat
    most = math.min(left, CHUNK)
    found = most > 0 and past(key) or {}
    if #found > 0 then claim(found) end
  until #found < most or most == 0
end

all(leases, function(members) take(members, true) end)
all(due, take_due)
if #reply > 0 then redis.call('PEXPIRE', taken, ARGV[3]) end
return reply
