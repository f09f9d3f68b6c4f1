-- Write the profiles of one bucket that are unchanged since they were read, and move the bucket's positions.
--
-- KEYS 1  state of the bucket (hash)
--      2  index of the bucket's profiles (sorted set)
--      3  revision floors of users who were forgotten (hash)
--      4  .. 3+F  due times, one sorted set for each folder, in the order of ARGV[2]
--      4+F ..     the profiles (hashes), in the order of their descriptions in ARGV
-- ARGV 1  epoch that the writer knows; '' demands nothing
--      2  folders that the writer knows, as the state spells them
--      3  debounce, milliseconds
--      4  number of folders
--      5  number of positions; for each: partition, start, end
--      then for each profile: expected version ('' for none), token, member, user id, the folders in which it is due
--      (a string of 0 and 1; '' for a write that changes no content), the user's revision floor ('' demands nothing),
--      number of fields to set (the last is v, with the token), number to delete, field, value, field, value, .. and
--      the fields to delete
-- Returns {'ok', index of a profile in conflict, ..} or {'epoch', present} or {'folders', present}
--      or {'hole', partition, stored}. Everything is checked before the first write.
local CHUNK = 1000
local now = redis.call('TIME')
local state = KEYS[1]
local known = redis.call('HMGET', state, 'epoch', 'folders')
local epoch, folders = known[1] or '', known[2] or ''
if ARGV[1] ~= '' and epoch ~= ARGV[1] then return {'epoch', epoch} end
if folders ~= ARGV[2] then return {'folders', folders} end

local at = 6
local positions = {}
for i = 1, tonumber(ARGV[5]) do
  local field, from, to = 'p:' .. ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local stored = redis.call('HGET', state, field)
  if not stored or tonumber(stored) < from then return {'hole', ARGV[at], stored or ''} end
  if tonumber(stored) < to then
    positions[#positions + 1] = field
    positions[#positions + 1] = ARGV[at + 2]
  end
  at = at + 3
end

local reply = {'ok'}
local writes = {}
local first_profile = 4 + tonumber(ARGV[4])
local floored = redis.call('EXISTS', KEYS[3]) == 1
for i = first_profile, #KEYS do
  local sets, deletes = tonumber(ARGV[at + 6]), tonumber(ARGV[at + 7])
  local version = redis.call('HGET', KEYS[i], 'v') or ''
  local floor = floored and redis.call('HGET', KEYS[3], ARGV[at + 3]) or '0'
  if version == ARGV[at] and (ARGV[at + 5] == '' or ARGV[at + 5] == floor) then
    writes[#writes + 1] = {i, at}
  elseif version ~= ARGV[at + 1] then
    reply[#reply + 1] = i - first_profile
  end
  at = at + 8 + 2 * sets + deletes
end
if at ~= #ARGV + 1 then return redis.error_reply('save: ' .. #ARGV .. ' arguments, ' .. (at - 1) .. ' described') end

-- Few commands with many arguments: calling one costs more than what it does.
local due = string.format('%.0f', now[1] * 1000 + math.floor(now[2] / 1000) + tonumber(ARGV[3]))
local created, changed = {}, {}
for folder = 1, tonumber(ARGV[4]) do changed[folder] = {} end
for _, write in ipairs(writes) do
  local key, a = KEYS[write[1]], write[2]
  local sets, deletes = tonumber(ARGV[a + 6]), tonumber(ARGV[a + 7])
  local from = a + 8
  local last = from + 2 * sets - 1
  for i = from, last, CHUNK do
    redis.call('HSET', key, unpack(ARGV, i, math.min(i + CHUNK - 1, last)))
  end
  for i = last + 1, last + deletes, CHUNK do
    redis.call('HDEL', key, unpack(ARGV, i, math.min(i + CHUNK - 1, last + deletes)))
  end
  if ARGV[a] == '' then
    created[#created + 1] = ARGV[a + 3]
    created[#created + 1] = ARGV[a + 2]
  end
  for folder = 1, #ARGV[a + 4] do
    if string.byte(ARGV[a + 4], folder) == 49 then
      local members = changed[folder]
      members[#members + 1] = due
      members[#members + 1] = ARGV[a + 2]
    end
  end
end
for i = 1, #created, CHUNK do
  redis.call('ZADD', KEYS[2], unpack(created, i, math.min(i + CHUNK - 1, #created)))
end
-- LT: the first change counts, and one that comes while a later flush stands there does not wait for it.
for folder, members in ipairs(changed) do
  for i = 1, #members, CHUNK do
    redis.call('ZADD', KEYS[3 + folder], 'LT', unpack(members, i, math.min(i + CHUNK - 1, #members)))
  end
end
if #reply > 1 then positions = {} end
for i = 1, #positions, CHUNK do
  redis.call('HSET', state, unpack(positions, i, math.min(i + CHUNK - 1, #positions)))
end
if #writes + #positions > 0 then redis.call('HINCRBY', state, 'writes', 1) end
return reply
