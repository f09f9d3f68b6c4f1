-- Write a document that belongs to a lease.
--
-- KEYS 1  lease (string)   2  document (string)
-- ARGV 1  token   2  the document
-- Returns 1, or 0 where the lease is not the caller's.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[2], ARGV[2])
return 1
